# SPDX-License-Identifier: BSD-2-Clause
"""Joins runs of bytes into the payloads of memory writes.

A memory write has byte enables for its first and last dword only (PCI Express Base 4.0 section
2.2.5), so each unbroken run of bytes becomes a write of its own. The run is split at multiples of
the maximum payload size, hence at 4 KiB (sections 2.2.2, 2.2.7).
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..geometry import Geometry
from ..lanes import rotate_right_lanes
from .axi import ADDRESS_WIDTH
from .limits import REQUEST_BYTES
from .span import dwords_beyond_first
from .write_pieces import Piece

__all__ = ["Segment", "Segmenter"]


class Segment(data.Struct):
    """One memory write, or an empty segment that ends a burst.

    Attributes
    ----------
    ends : 1 bit
        It is the last of its burst.
    empty : 1 bit
        It has no bytes: the last word of its burst had none.
    tail : 2 bits
        Position of the last byte in its dword.
    more : 7 bits
        Dwords beyond the first.
    address : 64 bits
        Address of the first byte.
    """

    ends: 1
    empty: 1
    tail: 2
    more: range(REQUEST_BYTES // 4)
    address: ADDRESS_WIDTH


class Segmenter(wiring.Component):
    """Joins consecutive pieces into segments, whose dwords start at lane 0 as in a TLP.

    A beat is emitted when it is full, a segment when it is complete: one beat for each
    ``data_width`` bits of dwords, the last one at most a cycle after the segment.

    Attributes
    ----------
    i : In(stream of Piece)
        Pieces.
    beats : Out(stream of data_width)
        Payload; ``ready`` is ignored, ``room`` guarantees space.
    segments : Out(stream of Segment)
        Segments; ``ready`` is ignored, ``room`` guarantees space.
    room : In(1)
        There is space for four more beats and four more segments.
    begins : Out(1)
        One-cycle pulse: a piece that begins a segment was accepted in the cycle before.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        super().__init__(
            {
                "i": In(stream.Signature(Piece(geometry))),
                "beats": Out(stream.Signature(geometry.data_width)),
                "segments": Out(stream.Signature(Segment)),
                "room": In(1),
                "begins": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self._geometry
        lanes = g.lanes
        piece, segment = self.i.p, self.segments.p

        # The piece accepted before belongs to the same segment.
        under_way = Signal()
        offset = Signal(g.lane_bits)
        moved = Signal()
        # The segment before has one beat more than the words that it spans.
        flush = Signal()
        spills = Signal()
        # Low address bits of the last byte.
        final = Signal(range(REQUEST_BYTES))

        first_lane, last_lane = piece.first[2:], piece.last[2:]
        goes = self.i.valid & self.i.ready
        m.d.comb += spills.eq(
            goes & under_way & moved & piece.closes & (last_lane >= offset),
        )
        m.d.comb += [
            segment.more.eq(dwords_beyond_first(segment.address, final)),
            segment.tail.eq(final[:2]),
        ]
        m.d.sync += [
            flush.eq(spills),
            self.i.ready.eq(self.room & ~spills),
            self.segments.valid.eq(goes & piece.closes),
            self.begins.eq(goes & ~under_way),
        ]
        with m.If(goes):
            m.d.sync += [
                under_way.eq(~piece.closes),
                segment.ends.eq(piece.ends),
                segment.empty.eq(piece.empty),
                final.eq(Cat(piece.last, piece.word)),
            ]
            with m.If(~under_way):
                m.d.sync += [
                    segment.address.eq(Cat(piece.first, piece.word)),
                    offset.eq(first_lane),
                    moved.eq(first_lane != 0),
                ]

        # Dwords that move to a lower lane wait for those of the next word.
        previous = Signal(g.data_width)
        rotated = Signal(g.data_width)
        from_previous = Signal(lanes)
        full = under_way | piece.closes | (first_lane == 0)
        m.d.comb += rotated.eq(
            rotate_right_lanes(piece.data, Mux(under_way, offset, first_lane), 32, lanes)
        )
        with m.If(flush):
            m.d.comb += from_previous.eq(-1)
        with m.Elif(under_way & moved):
            m.d.comb += from_previous.eq(Const((1 << lanes) - 1) >> offset)
        with m.If(goes):
            m.d.sync += previous.eq(rotated)
        m.d.sync += self.beats.valid.eq(flush | (goes & full & ~piece.empty))
        for lane in range(lanes):
            bits = slice(32 * lane, 32 * lane + 32)
            m.d.sync += self.beats.p[bits].eq(
                Mux(from_previous[lane], previous[bits], rotated[bits])
            )
        return m
