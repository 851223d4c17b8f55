# SPDX-License-Identifier: BSD-2-Clause
"""Moves packets that begin in the middle of a beat to the beginning of one.

Source: PG054 (7 Series Integrated Block for PCI Express), 128-bit receive interface.
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .inline import inline_layout

__all__ = ["STRADDLED", "Unstraddler"]

WIDTH = 128
HALF = WIDTH // 2

STRADDLED = data.StructLayout(
    {"data": WIDTH, "begins": 1, "begin_half": 1, "ends": 1, "last_lane": 2, "side": 16}
)
"""Beat of 128 bits: one packet may end in its lower half, another begin in its upper half.

``begins``: a packet begins, in half ``begin_half``. ``ends``: a packet ends, in lane ``last_lane``.
``side``: sideband of the beginning of a packet.
"""


class Unstraddler(wiring.Component):
    """Aligns each packet to the beginning of a beat.

    The throughput is one beat per cycle; a packet that begins and ends in an upper half takes one
    cycle more.

    Attributes
    ----------
    i : In(stream of STRADDLED)
        Beats of the block.
    o : Out(stream of inline_layout(128))
        Packets.
    side : Out(16)
        Sideband of the packet on ``o``, valid with each of its beats.
    """

    def __init__(self):
        super().__init__(
            {
                "i": In(stream.Signature(STRADDLED)),
                "o": Out(stream.Signature(inline_layout(WIDTH))),
                "side": Out(16),
            }
        )

    def elaborate(self, platform):
        m = Module()
        beat, out = self.i.p, self.o.p
        low, high = beat.data[:HALF], beat.data[HALF:]

        # `held`, `flush`: the upper half of the beat before has not been emitted. With `flush` it
        # ends its packet, in `rest_lanes` lanes.
        held = Signal()
        rest = Signal(HALF)
        flush = Signal()
        rest_lanes = Signal(range(3))
        side = Signal(16)

        # A packet in progress, or one that begins in the lower half, includes the lower half of
        # this beat.
        starts_high = beat.begins & beat.begin_half
        ends_low = beat.ends & ~beat.last_lane[1]
        lanes = beat.last_lane + 1
        emit = Signal()
        m.d.comb += [
            # A beat in which a packet only begins in the upper half emits nothing yet.
            emit.eq(held | ~starts_high | beat.ends),
            self.o.valid.eq(flush | (self.i.valid & emit)),
            self.i.ready.eq(~flush & (self.o.ready | ~emit)),
            self.side.eq(Mux(held | flush | ~beat.begins | beat.begin_half, side, beat.side)),
        ]
        with m.If(flush):
            m.d.comb += [out.data.eq(rest), out.lanes.eq(rest_lanes), out.last.eq(1)]
        with m.Elif(held):
            m.d.comb += [
                out.data.eq(Cat(rest, low)),
                out.last.eq(ends_low),
                # All four lanes, coded as 0, or three.
                out.lanes.eq(Mux(ends_low, lanes + 2, 0)),
            ]
        with m.Else():
            m.d.comb += [
                out.data.eq(beat.data),
                out.last.eq(beat.ends),
                out.lanes.eq(Mux(beat.ends, lanes, 0)),
            ]
        with m.If(flush & self.o.ready):
            m.d.sync += flush.eq(0)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                rest.eq(high),
                rest_lanes.eq(beat.last_lane[0] + 1),
                held.eq(starts_high | (held & ~beat.ends)),
                # The packet ends in the upper half.
                flush.eq(held & beat.ends & beat.last_lane[1]),
            ]
            with m.If(beat.begins):
                m.d.sync += side.eq(beat.side)
        return m
