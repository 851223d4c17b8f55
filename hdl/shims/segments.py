# SPDX-License-Identifier: BSD-2-Clause
"""Moves packets that begin in any segment of a beat to the beginning of one.

Sources: user guides of Intel's blocks, P-Tile (683059) "Avalon-ST RX Interface", L- and H-Tile
(683111) "Avalon-ST 512-Bit RX Interface".
"""

from amaranth.hdl import Cat, Module, Mux, ShapeLike, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .inline import inline_layout

__all__ = ["Unsegmenter", "segments_layout"]


def segments_layout(data_width: int, segments: int, side: ShapeLike) -> data.StructLayout:
    """Beat of ``segments`` segments, each of which may begin a packet.

    Each segment has ``valid``; ``data``, first dword in lane 0; ``last`` of its packet; ``lanes``,
    the number of lanes in use of a last segment; and ``side``, the sideband of a first one.
    """
    width = data_width // segments
    segment = data.StructLayout(
        {
            "data": width,
            "lanes": range(width // 32 + 1),
            "last": 1,
            "valid": 1,
            "side": side,
        }
    )
    return data.StructLayout({"segments": data.ArrayLayout(segment, segments)})


class Unsegmenter(wiring.Component):
    """Aligns each packet to the beginning of a beat.

    The throughput is one beat per cycle; a beat of two segments that both end a packet takes one
    cycle more.

    Parameters
    ----------
    data_width : int
        Bits of a beat.
    segments : int
        1 or 2.
    side : ShapeLike
        Sideband of the beginning of a packet.

    Attributes
    ----------
    i : In(stream of segments_layout)
        Beats, each with at least one valid segment.
    o : Out(stream of inline_layout)
        Packets.
    first : Out(1)
        The beat on ``o`` is the first of its packet.
    side : Out(side)
        Sideband of the packet on ``o``, valid with each of its beats.

    Raises
    ------
    ValueError
        ``segments`` is neither 1 nor 2.
    """

    def __init__(self, data_width: int, segments: int, side: ShapeLike):
        if segments not in (1, 2):
            raise ValueError(f"segments is {segments}: must be 1 or 2")
        self._layout = segments_layout(data_width, segments, side)
        self._lanes = data_width // 32 // segments
        super().__init__(
            {
                "i": In(stream.Signature(self._layout)),
                "o": Out(stream.Signature(inline_layout(data_width))),
                "first": Out(1, init=1),
                "side": Out(side),
            }
        )

    def elaborate(self, platform):
        m = Module()
        segments = self.i.p.segments
        if len(segments) == 1:
            lead = segments[0]
            m.d.comb += [
                self.o.valid.eq(self.i.valid),
                self.i.ready.eq(self.o.ready),
                self.o.p.data.eq(lead.data),
            ]
            self._end(m, lead.last, lead.lanes)
        else:
            lead = self._join(m, *segments)

        side = Signal.like(self.side)
        m.d.comb += self.side.eq(Mux(self.first, lead.side, side))
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [self.first.eq(self.o.p.last), side.eq(self.side)]
        return m

    def _join(self, m, low, high):
        """Drive ``o`` from two segments, of which the first may be held. Returns the first."""
        segment = self._layout["segments"].shape.elem_shape
        # Segment of an earlier beat that has not been emitted.
        held = Signal()
        kept = Signal(segment)

        earlier = Signal(segment)
        lead = Signal(segment)
        follower = Signal(segment)
        both = Signal()
        paired = Signal()
        flush = Signal()
        emit = Signal()
        m.d.comb += [
            earlier.eq(Mux(low.valid, low, high)),
            both.eq(low.valid & high.valid),
            lead.eq(Mux(held, kept, earlier)),
            follower.eq(Mux(held, earlier, high)),
            flush.eq(held & kept.last),
            paired.eq(~lead.last & (held | both)),
            # A segment that does not end its packet waits for the next one.
            emit.eq(held | both | earlier.last),
            self.o.valid.eq(flush | (self.i.valid & emit)),
            self.i.ready.eq(~flush & (self.o.ready | ~emit)),
            self.o.p.data.eq(Cat(lead.data, follower.data)),
        ]
        with m.If(paired):
            self._end(m, follower.last, follower.lanes + self._lanes)
        with m.Else():
            self._end(m, lead.last, lead.lanes)
        with m.If(flush & self.o.ready):
            m.d.sync += held.eq(0)
        with m.If(self.i.valid & self.i.ready):
            with m.If(held | earlier.last):
                m.d.sync += [held.eq(both), kept.eq(high)]
            with m.Else():
                m.d.sync += [held.eq(~both), kept.eq(earlier)]
        return lead

    def _end(self, m, last, lanes):
        out = self.o.p
        m.d.comb += [out.last.eq(last), out.lanes.eq(Mux(last, lanes, 0)[: len(out.lanes)])]
