# SPDX-License-Identifier: BSD-2-Clause
"""What two proofs about memory writes share: the words of bursts, and how pieces follow them."""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.hdl import Const, Mux, Value, ValueLike
from amaranth.lib import wiring

from hdl.dma.limits import REQUEST_BYTES
from hdl.dma.write_pieces import PieceFinder
from hdl.dma.write_segments import Segmenter
from hdl.geometry import Geometry

from ..harness import Harness, Part

__all__ = ["IN_BLOCK", "WritePath"]

IN_BLOCK = (REQUEST_BYTES - 1).bit_length()


@dataclass
class WritePath:
    """The finder of pieces before the segmenter.

    Attributes
    ----------
    finder, segmenter
        The components.
    found, cut
        Their parts in the harness.
    goes_on, follows
        Whether the burst of the last word has more of them, and the word address that is next.
    """

    finder: PieceFinder
    segmenter: Segmenter
    found: Part
    cut: Part
    goes_on: Value
    follows: Value

    @classmethod
    def of(cls, h: Harness, g: Geometry, code: ValueLike) -> WritePath:
        """Put it into a harness, with ``code`` for Max_Payload_Size: the words of a burst come one
        after the other, under any strobes."""
        finder, segmenter = PieceFinder(g), Segmenter(g)
        found = h.add("finder", finder, driven=("max_payload_size", "o"))
        cut = h.add("segmenter", segmenter, driven=("i",))
        wiring.connect(h.m, finder.o, segmenter.i)
        h.m.d.comb += finder.max_payload_size.eq(code)
        source = finder.i.p
        taken = finder.i.valid & finder.i.ready
        goes_on = h.kept(~source.last, taken, "goes_on")
        follows = h.kept(source.word + 1, taken, "follows")[: len(source.word)]
        h.assume(~(finder.i.valid & goes_on) | (source.word == follows))
        return cls(finder, segmenter, found, cut, goes_on, follows)

    def ensure_pieces_follow(
        self, h: Harness, g: Geometry, block: Value, *, fell: ValueLike = 0, former: ValueLike = 0
    ) -> None:
        """For the induction: the registers of both agree with the words.

        Parameters
        ----------
        block
            Bytes of the aligned block that a segment stays within.
        fell, former
            The block has just become smaller; the segment under way began before it did.
        """
        found, cut, finder = self.found, self.cut, self.finder
        word_bits = g.word_bytes.bit_length() - 1
        begun = h.register(1, "begun")
        mask = found.inside("mask")
        h.ensure(~begun | (mask == block - 1))
        valid, held, top = (found.inside(name) for name in ("valid", "held", "top"))
        h.ensure(begun | ~(valid | held))
        # Runs in a word begin and finish in turn.
        begins, finishes = found.inside("begins"), found.inside("finishes")
        under_run: Value = Const(0, 1)
        for byte in range(g.word_bytes):
            h.ensure(~valid | ~(begins[byte] & under_run))
            under_run = under_run | begins[byte]
            h.ensure(~valid | ~(finishes[byte] & ~under_run))
            under_run = under_run & ~finishes[byte]
        h.ensure(~valid | ~under_run)
        # A word follows the one before it in the burst, wherever that one is.
        word, last_word = found.inside("word"), found.inside("last_word")
        piece, segment = finder.o.p, self.segmenter.segments.p
        ahead = Mux(valid, word, self.follows)
        follows = self.follows == (word + 1)[: len(word)]
        h.ensure(~(valid & ~last_word) | (self.goes_on & follows))
        h.ensure(~(held & top) | (ahead == (piece.word + 1)[: len(word)]))
        h.ensure(~(held & top) | valid | self.goes_on)
        h.ensure(~(held & top) | (piece.last.all() & ~piece.empty))
        next_byte = (piece.word << word_bits)[:IN_BLOCK]
        at_end = (next_byte | (g.word_bytes - 1)) & (block - 1)
        h.ensure(~(held & top) | fell | (at_end != block - 1))
        h.ensure(~held | piece.empty | (piece.first <= piece.last))
        # A segment under way goes on with the piece that is there.
        final, under_way = cut.inside("final"), cut.inside("under_way")
        address = segment.address[:IN_BLOCK]
        exempt = Value.cast(former) | fell
        for right in (
            held & ~piece.empty & (piece.first == 0),
            final[:word_bits].all(),
            exempt | (next_byte == (final + 1)[:IN_BLOCK]),
            exempt | (((final ^ address) & ~mask) == 0),
            exempt | (final >= address),
            exempt | ((final & mask) != mask),
        ):
            h.ensure(~under_way | right)
