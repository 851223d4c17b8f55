# SPDX-License-Identifier: BSD-2-Clause
"""Sends segments as memory writes, or throws them away.

PCI Express Base 4.0 sections 2.2.7 (requests), 7.5.1.1.3 (Bus Master Enable).
"""

from amaranth.hdl import Const, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..departures import DepartureTracker
from ..fifo import SkidBuffer
from ..geometry import Geometry
from ..tlp import raw_signature
from .confirmations import ConfirmationQueue
from .limits import REQUEST_BYTES
from .span import span_header
from .write_segments import Segment

__all__ = ["WriteSender"]

MOST_TLPS = 4
"""TLPs inside: one whose beats are taken, two in the stage, and one whose pulse is a cycle late."""


class WriteSender(wiring.Component):
    """Takes each segment with its beats and makes a TLP of it, a beat a cycle, a TLP every other
    cycle at most.

    Attributes
    ----------
    segments : In(stream of Segment)
    beats : In(stream of data_width)
        The first one of a segment is on offer the cycle after the segment at the latest.
    o : Out(raw_signature(data_width))
        Memory writes. One is given up no more once it is valid, nor is the one behind it.
    void : In(1)
        The burst of the segment on offer has failed already. This may tell of a segment thrown
        away a cycle late.
    bus_master_enable : In(1), requester_id : In(16)
    discards : Out(1)
        One-cycle pulse: a segment is thrown away.
    sent : Out(1)
        The last segment of a burst is taken in this cycle.
    confirmed : In(1)
        With ``sequence_numbers``: the oldest TLP that was taken from ``o`` has left the hard block.
    left : Out(1)
        One-cycle pulse, in the order of the bursts: all that was to leave of one has left ``o``,
        with ``sequence_numbers`` the hard block.
    departed : Out(1)
        One-cycle pulse, in the order of the segments: one has left ``o`` or was thrown away.
    empty : Out(1)
        All that was taken from ``o`` has left the hard block, as far as that is told.
    former : Out(1)
        A TLP has not left that began before ``bus_master_enable`` fell; valid from the cycle after
        that on.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        super().__init__(
            {
                "segments": In(stream.Signature(Segment)),
                "beats": In(stream.Signature(geometry.data_width)),
                "o": Out(raw_signature(geometry.data_width)),
                "void": In(1),
                "bus_master_enable": In(1),
                "requester_id": In(16),
                "discards": Out(1),
                "sent": Out(1),
                "confirmed": In(1),
                "left": Out(1),
                "empty": Out(1),
                "departed": Out(1),
                "former": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self._geometry
        segment = self.segments.p
        tlp = raw_signature(g.data_width).members["payload"].shape

        # Whoever takes the TLPs tells so late, and no further than to here.
        m.submodules.stage = stage = SkidBuffer(data.StructLayout({"tlp": tlp, "closes": 1}))

        # The segment whose beats are taken, be it that they are sent or that they are not.
        sending = Signal()
        discarding = Signal()
        ends = Signal()
        strb = Signal(g.lanes)
        beats_left = Signal(range(REQUEST_BYTES // g.word_bytes))
        final = Signal()

        # It is handed back the cycle after: whether it goes is known late.
        handled = Signal()
        waits = self.segments.valid & ~handled
        idle = ~sending & ~discarding
        all_left = idle & ~stage.o.valid & self.empty
        may_leave = self.bus_master_enable & ~self.void
        last_beat = self.beats.valid & final
        starts = Signal()
        passes = Signal()
        # The next segment may begin. Whether it does is known later, and what is loaded then need
        # not hang on it.
        free = Signal()
        m.d.comb += [
            self.beats.ready.eq((sending & stage.i.ready) | discarding),
            free.eq(idle | (sending & last_beat & stage.i.ready)),
            starts.eq(waits & ~segment.empty & may_leave & free),
            # Not before what precedes it has left: so bursts are done with in their order.
            self.discards.eq(waits & ~segment.empty & ~may_leave & all_left),
            passes.eq(waits & segment.empty & all_left),
            self.segments.ready.eq(handled),
            self.sent.eq(handled & segment.ends),
        ]
        tlp_leaves = Signal()
        room = Signal()
        closes = Signal()
        if g.block.sequence_numbers:
            m.submodules.queue = queue = ConfirmationQueue()
            m.d.comb += [
                room.eq(queue.room),
                queue.taken.eq(tlp_leaves),
                queue.mark.eq(stage.o.p.closes),
                queue.confirmed.eq(self.confirmed),
                closes.eq(queue.marked),
                self.empty.eq(queue.empty),
            ]
        else:
            m.d.comb += [
                room.eq(1),
                closes.eq(stage.o.valid & stage.o.ready & stage.o.p.closes),
                self.empty.eq(1),
            ]
        m.submodules.tracker = tracker = DepartureTracker(MOST_TLPS)
        m.d.comb += [
            tlp_leaves.eq(stage.o.valid & stage.o.ready & stage.o.p.tlp.eop),
            # None begins while it is off: one counted in the cycle of the fall began before it.
            tracker.fell.eq(~self.bus_master_enable),
            self.former.eq(tracker.former),
        ]
        m.d.sync += [
            tracker.planned.eq(starts),
            tracker.departed.eq(tlp_leaves),
            self.departed.eq(tlp_leaves | (discarding & last_beat) | passes),
            handled.eq(starts | self.discards | passes),
            sending.eq(starts | (sending & ~(last_beat & stage.i.ready))),
            discarding.eq(self.discards | (discarding & ~last_beat)),
            self.left.eq(closes | (discarding & last_beat & ends) | passes),
        ]

        out = stage.i.p.tlp
        beats_more = segment.more[g.lane_bits :]
        with m.If(self.beats.valid & self.beats.ready):
            m.d.sync += [
                out.sop.eq(0),
                beats_left.eq(beats_left - 1),
                final.eq(beats_left == 1),
            ]
        with m.If(free):
            m.d.sync += [
                ends.eq(segment.ends),
                strb.eq(Const((1 << g.lanes) - 1) >> ~segment.more[: g.lane_bits]),
                beats_left.eq(beats_more),
                final.eq(beats_more == 0),
                out.sop.eq(1),
                out.hdr.eq(
                    span_header(
                        address=segment.address,
                        more=segment.more,
                        tail=segment.tail,
                        requester_id=self.requester_id,
                        write=True,
                        force_64_bit_addresses=g.block.force_64_bit_addresses,
                    )
                ),
            ]
        m.d.comb += [
            stage.i.valid.eq(sending & self.beats.valid),
            stage.i.p.closes.eq(final & ends),
            self.o.valid.eq(stage.o.valid & room),
            self.o.p.eq(stage.o.p.tlp),
            stage.o.ready.eq(self.o.ready & room),
            out.data.eq(self.beats.p),
            out.strb.eq(strb | (~final).replicate(g.lanes)),
            out.eop.eq(final),
        ]
        return m
