# SPDX-License-Identifier: BSD-2-Clause
"""Finder and segmenter of memory writes, for two proofs: words of bursts, and invariants."""

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
"""Address bits within the largest block."""


@dataclass
class WritePath:
    """The finder of pieces, connected to the segmenter.

    Attributes
    ----------
    finder, segmenter
        The components.
    finder_part, segmenter_part
        Their parts in the harness.
    continues, next_word
        Whether the burst of the last word continues, and its next word address.
    """

    finder: PieceFinder
    segmenter: Segmenter
    finder_part: Part
    segmenter_part: Part
    continues: Value
    next_word: Value

    @classmethod
    def of(cls, h: Harness, g: Geometry, code: ValueLike) -> WritePath:
        """Add the path to a harness, with ``code`` for Max_Payload_Size.

        The words of a burst are assumed to be consecutive, with any strobes.
        """
        finder, segmenter = PieceFinder(g), Segmenter(g)
        finder_part = h.add("finder", finder, driven=("max_payload_size", "o"))
        segmenter_part = h.add("segmenter", segmenter, driven=("i",))
        wiring.connect(h.m, finder.o, segmenter.i)
        h.m.d.comb += finder.max_payload_size.eq(code)
        source = finder.i.p
        accepted = finder.i.valid & finder.i.ready
        continues = h.latched(~source.last, accepted, "continues")
        next_word = h.latched(source.word + 1, accepted, "next_word")[: len(source.word)]
        h.assume(~(finder.i.valid & continues) | (source.word == next_word))
        return cls(finder, segmenter, finder_part, segmenter_part, continues, next_word)

    def ensure_consecutive_pieces(
        self, h: Harness, g: Geometry, block: Value, *, fell: ValueLike = 0, former: ValueLike = 0
    ) -> None:
        """Invariants: the registers of both components agree with the words.

        Parameters
        ----------
        block
            Bytes of the aligned block that a segment stays within.
        fell, former
            The block became smaller in the previous cycle; the segment in progress began before.
        """
        finder = self.finder
        word_bits = g.word_bytes.bit_length() - 1
        started = h.register(1, "started")
        mask, valid, held, may_continue, begins, finishes, word, last_word = (
            self.finder_part.inside(name)
            for name in (
                "mask",
                "valid",
                "held",
                "may_continue",
                "begins",
                "finishes",
                "word",
                "last_word",
            )
        )
        h.ensure(~started | (mask == block - 1))
        h.ensure(started | ~(valid | held))
        # The first and last bytes of the runs in a word alternate.
        in_run: Value = Const(0, 1)
        for byte in range(g.word_bytes):
            h.ensure(~valid | ~(begins[byte] & in_run))
            in_run = in_run | begins[byte]
            h.ensure(~valid | ~(finishes[byte] & ~in_run))
            in_run = in_run & ~finishes[byte]
        h.ensure(~valid | ~in_run)
        # A word follows the one before it in the burst, in whichever stage that one is.
        piece, segment = finder.o.p, self.segmenter.segments.p
        next_word = Mux(valid, word, self.next_word)
        h.ensure(
            ~(valid & ~last_word) | (self.continues & (self.next_word == (word + 1)[: len(word)]))
        )
        open_run = held & may_continue
        h.ensure(~open_run | (next_word == (piece.word + 1)[: len(word)]))
        h.ensure(~open_run | valid | self.continues)
        h.ensure(~open_run | (piece.last.all() & ~piece.empty))
        next_byte = (piece.word << word_bits)[:IN_BLOCK]
        word_end = (next_byte | (g.word_bytes - 1)) & (block - 1)
        h.ensure(~open_run | fell | (word_end != block - 1))
        h.ensure(~held | piece.empty | (piece.first <= piece.last))
        # A segment in progress continues with the held piece.
        last_addr = self.segmenter_part.inside("last_addr")
        in_segment = self.segmenter_part.inside("in_segment")
        address = segment.address[:IN_BLOCK]
        exempt = Value.cast(former) | fell
        for condition in (
            held & ~piece.empty & (piece.first == 0),
            last_addr[:word_bits].all(),
            exempt | (next_byte == (last_addr + 1)[:IN_BLOCK]),
            exempt | (((last_addr ^ address) & ~mask) == 0),
            exempt | (last_addr >= address),
            exempt | ((last_addr & mask) != mask),
        ):
            h.ensure(~in_segment | condition)
