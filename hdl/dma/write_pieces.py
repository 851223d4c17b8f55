# SPDX-License-Identifier: BSD-2-Clause
"""Finds the runs of consecutive bytes in a word with any strobes."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..geometry import Geometry
from .limits import REQUEST_BYTES, block_mask
from .write_words import written_word

__all__ = ["Piece", "PieceFinder"]


class Piece(data.StructLayout):
    """Run of consecutive bytes in a word, or an empty piece that ends a burst.

    Attributes
    ----------
    data : data_width bits
        Data of the word.
    word : ADDRESS_WIDTH - log2(word_bytes) bits
        Word address.
    first, last : range(word_bytes)
        Position of the first and last byte of the run.
    closes : 1 bit
        The segment ends with this piece.
    ends : 1 bit
        The burst ends with this piece.
    empty : 1 bit
        The piece has no bytes: it only ends the burst.
    """

    def __init__(self, geometry: Geometry):
        word = dict(written_word(geometry))
        super().__init__(
            {
                "data": geometry.data_width,
                "word": word["word"].shape,
                "first": range(geometry.word_bytes),
                "last": range(geometry.word_bytes),
                "closes": 1,
                "ends": 1,
                "empty": 1,
            }
        )


class PieceFinder(wiring.Component):
    """Finds the runs of bytes in each word, lowest first, one per cycle; two register stages.

    A word with at most one run takes a cycle, a word with several runs one cycle more than it has
    runs. A run up to the end of its word is held until the next word shows whether it continues,
    unless the segment has to end there. When ``max_payload_size`` falls, the piece held, or else
    the next one, closes its segment: the segment departs at its present length, without waiting for
    data.

    Attributes
    ----------
    i : In(stream of written_word)
        Words.
    o : Out(stream of Piece)
        Pieces.
    max_payload_size : In(3)
        Encoding of Device Control.
    fell : Out(1)
        One-cycle pulse: ``max_payload_size`` fell in the cycle before. A segment that begins with a
        piece accepted in this cycle still has the former size, a later one does not.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        super().__init__(
            {
                "i": In(stream.Signature(written_word(geometry))),
                "o": Out(stream.Signature(Piece(geometry))),
                "max_payload_size": In(3),
                "fell": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self._geometry
        word_bits = g.word_bytes.bit_length() - 1
        out = self.o.p

        # First stage: the first and last bytes of the runs. The bits of a run that has moved on are
        # cleared.
        word = Signal.like(self.i.p.word)
        content = Signal(g.data_width)
        last_word = Signal()
        begins = Signal(g.word_bytes)
        finishes = Signal(g.word_bytes)
        valid = Signal()
        has_one_run = Signal()

        # Second stage: positions of the lowest run. A word without bytes is skipped unless it is
        # the last of its burst.
        held = Signal()
        may_continue = Signal()
        advances = Signal()
        several = Signal()
        strb = self.i.p.strb
        first_of = Signal(g.word_bytes)
        m.d.comb += [
            first_of.eq(strb & ~(strb << 1)),
            advances.eq(valid & (~held | self.o.ready)),
            several.eq(_several(begins)),
            # With several runs, the departure of the last one is late: accept the next word a cycle
            # later.
            self.i.ready.eq(~valid | (has_one_run & (~held | self.o.ready))),
            self.o.valid.eq(held & (~may_continue | valid)),
            out.closes.eq(~may_continue | ~begins[0]),
        ]
        with m.If(advances):
            m.d.sync += [
                valid.eq(several),
                begins.eq(begins & (begins - 1)),
                finishes.eq(finishes & (finishes - 1)),
            ]
        with m.If(self.i.ready):
            m.d.sync += [
                valid.eq(self.i.valid),
                has_one_run.eq(~_several(first_of)),
                begins.eq(first_of),
                finishes.eq(strb & ~(strb >> 1)),
                content.eq(self.i.p.data),
                word.eq(self.i.p.word),
                last_word.eq(self.i.p.last),
            ]

        mask = Signal(REQUEST_BYTES.bit_length() - 1)
        next_mask = Signal.like(mask)
        m.d.comb += next_mask.eq(block_mask(self.max_payload_size))
        m.d.sync += [mask.eq(next_mask), self.fell.eq((mask & ~next_mask).any())]
        words_mask = mask[word_bits:]
        at_limit = (word[: len(words_mask)] | ~words_mask).all()
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += held.eq(0)
        with m.If(advances):
            m.d.sync += [
                held.eq(begins.any() | last_word),
                may_continue.eq(finishes[-1] & ~finishes[:-1].any() & ~at_limit & ~last_word),
                out.data.eq(content),
                out.word.eq(word),
                out.first.eq(_lowest(begins)),
                out.last.eq(_lowest(finishes)),
                out.ends.eq(last_word & ~several),
                out.empty.eq(~begins.any()),
            ]
        with m.If(self.fell):
            m.d.sync += may_continue.eq(0)
        return m


def _several(bits: Value) -> Value:
    """Return whether two or more of ``bits`` are set."""
    if len(bits) == 1:
        return Const(0)
    low, high = bits[: len(bits) // 2], bits[len(bits) // 2 :]
    return _several(low) | _several(high) | (low.any() & high.any())


def _lowest(bits: Value) -> Value:
    """Return the position of the lowest set bit of ``bits``, whose width is a power of two."""
    if len(bits) == 2:
        return ~bits[0]
    low, high = bits[: len(bits) // 2], bits[len(bits) // 2 :]
    return Cat(Mux(low.any(), _lowest(low), _lowest(high)), ~low.any())
