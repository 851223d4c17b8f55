# SPDX-License-Identifier: BSD-2-Clause
"""The unbroken runs of bytes in a word under any strobes."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..geometry import Geometry
from .limits import REQUEST_BYTES, block_mask
from .write_words import written_word

__all__ = ["Piece", "PieceFinder"]


class Piece(data.StructLayout):
    """An unbroken run of bytes in a word, or nothing.

    ``data`` and ``word`` as in :func:`~hdl.dma.write_words.written_word`; ``first`` and ``last``
    byte of the run. ``closes``: the next one does not go on with it, or may not; ``ends``: last of
    its burst; ``empty``: there are no bytes, it just ends the burst.
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
    """Finds the runs of bytes in each word, a piece a cycle, lowest first; two register stages.

    A word of one run or none costs a cycle, one of several runs a cycle more than it has runs. A
    run that reaches the end of its word waits for the next word, if it may go on there. When
    ``max_payload_size`` falls, the piece held, or the next one, closes: a segment under way departs
    at the length that it has, waiting for no data.

    Attributes
    ----------
    i : In(stream of written_word)
    o : Out(stream of Piece)
    max_payload_size : In(3)
        Encoding of the Device Control register.
    fell : Out(1)
        It fell, the cycle after. A piece that is taken in this cycle still begins a segment of the
        former size; one that is taken later does not.
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

        # The first stage: where runs begin and end. What has gone on is cleared.
        word = Signal.like(self.i.p.word)
        content = Signal(g.data_width)
        last_word = Signal()
        begins = Signal(g.word_bytes)
        finishes = Signal(g.word_bytes)
        valid = Signal()
        single = Signal()

        # The second: the lowest run, by number. There is nothing to make of a word without bytes,
        # unless it is the last.
        held = Signal()
        top = Signal()
        advances = Signal()
        more = Signal()
        strb = self.i.p.strb
        first_of = Signal(g.word_bytes)
        m.d.comb += [
            first_of.eq(strb & ~(strb << 1)),
            advances.eq(valid & (~held | self.o.ready)),
            more.eq(_several(begins)),
            # Of a word with several runs it takes longer to know that the last one goes.
            self.i.ready.eq(~valid | (single & (~held | self.o.ready))),
            self.o.valid.eq(held & (~top | valid)),
            out.closes.eq(~top | ~begins[0]),
        ]
        with m.If(advances):
            m.d.sync += [
                valid.eq(more),
                begins.eq(begins & (begins - 1)),
                finishes.eq(finishes & (finishes - 1)),
            ]
        with m.If(self.i.ready):
            m.d.sync += [
                valid.eq(self.i.valid),
                single.eq(~_several(first_of)),
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
                top.eq(finishes[-1] & ~finishes[:-1].any() & ~at_limit & ~last_word),
                out.data.eq(content),
                out.word.eq(word),
                out.first.eq(_lowest(begins)),
                out.last.eq(_lowest(finishes)),
                out.ends.eq(last_word & ~more),
                out.empty.eq(~begins.any()),
            ]
        with m.If(self.fell):
            m.d.sync += top.eq(0)
        return m


def _several(bits: Value) -> Value:
    """Whether two of ``bits`` are set, or more."""
    if len(bits) == 1:
        return Const(0)
    low, high = bits[: len(bits) // 2], bits[len(bits) // 2 :]
    return _several(low) | _several(high) | (low.any() & high.any())


def _lowest(bits: Value) -> Value:
    """Number of the lowest of ``bits``, a power of two of them, that is set."""
    if len(bits) == 2:
        return ~bits[0]
    low, high = bits[: len(bits) // 2], bits[len(bits) // 2 :]
    return Cat(Mux(low.any(), _lowest(low), _lowest(high)), ~low.any())
