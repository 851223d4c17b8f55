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
from .span import span_length_m1
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
    last_byte : 2 bits
        Position of the last byte in its dword.
    length_m1 : 7 bits
        Length in dwords less one.
    address : 64 bits
        Address of the first byte.
    """

    ends: 1
    empty: 1
    last_byte: 2
    length_m1: range(REQUEST_BYTES // 4)
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
        Payload; ``ready`` is ignored, ``has_space`` guarantees space.
    segments : Out(stream of Segment)
        Segments; ``ready`` is ignored, ``has_space`` guarantees space.
    has_space : In(1)
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
                "has_space": In(1),
                "begins": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self._geometry
        lanes = g.lanes
        piece, segment = self.i.p, self.segments.p

        # The piece accepted before belongs to the same segment.
        in_segment = Signal()
        offset = Signal(g.lane_bits)
        shifted = Signal()
        # The segment before has one beat more than the words that it spans.
        flush = Signal()
        overflows = Signal()
        # Low address bits of the last byte.
        last_addr = Signal(range(REQUEST_BYTES))

        first_lane, last_lane = piece.first[2:], piece.last[2:]
        accept = self.i.valid & self.i.ready
        m.d.comb += overflows.eq(
            accept & in_segment & shifted & piece.closes & (last_lane >= offset),
        )
        m.d.comb += [
            segment.length_m1.eq(span_length_m1(segment.address, last_addr)),
            segment.last_byte.eq(last_addr[:2]),
        ]
        m.d.sync += [
            flush.eq(overflows),
            self.i.ready.eq(self.has_space & ~overflows),
            self.segments.valid.eq(accept & piece.closes),
            self.begins.eq(accept & ~in_segment),
        ]
        with m.If(accept):
            m.d.sync += [
                in_segment.eq(~piece.closes),
                segment.ends.eq(piece.ends),
                segment.empty.eq(piece.empty),
                last_addr.eq(Cat(piece.last, piece.word)),
            ]
            with m.If(~in_segment):
                m.d.sync += [
                    segment.address.eq(Cat(piece.first, piece.word)),
                    offset.eq(first_lane),
                    shifted.eq(first_lane != 0),
                ]

        # Dwords that move to a lower lane wait for those of the next word.
        previous = Signal(g.data_width)
        rotated = Signal(g.data_width)
        from_previous = Signal(lanes)
        full = in_segment | piece.closes | (first_lane == 0)
        m.d.comb += rotated.eq(
            rotate_right_lanes(piece.data, Mux(in_segment, offset, first_lane), 32, lanes)
        )
        with m.If(flush):
            m.d.comb += from_previous.eq(-1)
        with m.Elif(in_segment & shifted):
            m.d.comb += from_previous.eq(Const((1 << lanes) - 1) >> offset)
        with m.If(accept):
            m.d.sync += previous.eq(rotated)
        m.d.sync += self.beats.valid.eq(flush | (accept & full & ~piece.empty))
        for lane in range(lanes):
            bits = slice(32 * lane, 32 * lane + 32)
            m.d.sync += self.beats.p[bits].eq(
                Mux(from_previous[lane], previous[bits], rotated[bits])
            )
        return m
