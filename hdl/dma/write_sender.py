# SPDX-License-Identifier: BSD-2-Clause
"""Sends segments as memory writes, or discards them.

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

MAX_TLPS = 4
"""Maximum number of TLPs inside: one whose beats are being accepted, two in the skid buffer, and
one whose departure is counted a cycle late."""


class WriteSender(wiring.Component):
    """Makes a TLP of each segment: a beat per cycle, a TLP every other cycle at most.

    Attributes
    ----------
    segments : In(stream of Segment)
        Segments.
    beats : In(stream of data_width)
        Payload. The first beat of a segment is valid at most one cycle after the segment.
    o : Out(raw_signature(data_width))
        Memory writes. Once valid, a write is never withdrawn, nor is the write behind it.
    abort : In(1)
        The burst of the valid segment has failed. May lag by one cycle after ``discards``.
    bus_master_enable : In(1)
        Bus Master Enable of the Command register, low during a reset.
    requester_id : In(16)
        Requester ID of the function.
    discards : Out(1)
        One-cycle pulse: a segment is discarded.
    sent : Out(1)
        One-cycle pulse: the last segment of a burst is accepted.
    confirmed : In(1)
        With ``sequence_numbers``, a one-cycle pulse: the oldest TLP that was accepted from ``o``
        has left the hard block.
    burst_departed : Out(1)
        One-cycle pulse, in the order of the bursts: all TLPs of a burst have left ``o``, or with
        ``sequence_numbers`` the hard block.
    segment_departed : Out(1)
        One-cycle pulse, in the order of the segments: a segment has left ``o`` or was discarded.
    empty : Out(1)
        Every TLP that was accepted from ``o`` has left the hard block; always high without
        ``sequence_numbers``.
    former : Out(1)
        A TLP that began before ``bus_master_enable`` fell has not departed. Valid from the next
        cycle on.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        super().__init__(
            {
                "segments": In(stream.Signature(Segment)),
                "beats": In(stream.Signature(geometry.data_width)),
                "o": Out(raw_signature(geometry.data_width)),
                "abort": In(1),
                "bus_master_enable": In(1),
                "requester_id": In(16),
                "discards": Out(1),
                "sent": Out(1),
                "confirmed": In(1),
                "burst_departed": Out(1),
                "empty": Out(1),
                "segment_departed": Out(1),
                "former": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self._geometry
        segment = self.segments.p
        tlp = raw_signature(g.data_width).members["payload"].shape

        # Skid buffer: `o.ready` is late; stop it here.
        m.submodules.stage = stage = SkidBuffer(data.StructLayout({"tlp": tlp, "ends_burst": 1}))

        # The segment whose beats are being accepted, to be sent or discarded.
        sending = Signal()
        discarding = Signal()
        ends = Signal()
        strb = Signal(g.lanes)
        beats_m1 = Signal(range(REQUEST_BYTES // g.word_bytes))
        is_last = Signal()

        # Accept the segment one cycle later: whether it is done is late.
        done_q = Signal()
        segment_valid = self.segments.valid & ~done_q
        idle = ~sending & ~discarding
        all_departed = idle & ~stage.o.valid & self.empty
        may_send = self.bus_master_enable & ~self.abort
        last_beat = self.beats.valid & is_last
        starts = Signal()
        skips = Signal()
        # The next segment may begin. Whether it does is late, and the registers loaded with it need
        # not depend on that.
        can_begin = Signal()
        m.d.comb += [
            self.beats.ready.eq((sending & stage.i.ready) | discarding),
            can_begin.eq(idle | (sending & last_beat & stage.i.ready)),
            starts.eq(segment_valid & ~segment.empty & may_send & can_begin),
            # Only after all before it has departed, so that bursts complete in order.
            self.discards.eq(segment_valid & ~segment.empty & ~may_send & all_departed),
            skips.eq(segment_valid & segment.empty & all_departed),
            self.segments.ready.eq(done_q),
            self.sent.eq(done_q & segment.ends),
        ]
        tlp_departed, burst_departed = self._send(m, stage.o)
        # Without a TLP.
        segment_ended = Signal()
        burst_ended = Signal()
        m.submodules.tracker = tracker = DepartureTracker(MAX_TLPS)
        m.d.comb += [
            # No TLP begins while bus mastering is off, so one counted in the cycle of the fall
            # began before it.
            tracker.fell.eq(~self.bus_master_enable),
            tracker.departed.eq(tlp_departed),
            self.former.eq(tracker.former),
            self.segment_departed.eq(tlp_departed | segment_ended),
            self.burst_departed.eq(burst_departed | burst_ended),
        ]
        m.d.sync += [
            tracker.planned.eq(starts),
            segment_ended.eq((discarding & last_beat) | skips),
            done_q.eq(starts | self.discards | skips),
            sending.eq(starts | (sending & ~(last_beat & stage.i.ready))),
            discarding.eq(self.discards | (discarding & ~last_beat)),
            burst_ended.eq((discarding & last_beat & ends) | skips),
        ]

        out = stage.i.p.tlp
        next_beats_m1 = segment.length_m1[g.lane_bits :]
        with m.If(self.beats.valid & self.beats.ready):
            m.d.sync += [
                out.sop.eq(0),
                beats_m1.eq(beats_m1 - 1),
                is_last.eq(beats_m1 == 1),
            ]
        with m.If(can_begin):
            m.d.sync += [
                ends.eq(segment.ends),
                strb.eq(Const((1 << g.lanes) - 1) >> ~segment.length_m1[: g.lane_bits]),
                beats_m1.eq(next_beats_m1),
                is_last.eq(next_beats_m1 == 0),
                out.sop.eq(1),
                out.hdr.eq(
                    span_header(
                        address=segment.address,
                        length_m1=segment.length_m1,
                        last_byte=segment.last_byte,
                        requester_id=self.requester_id,
                        write=True,
                        force_64_bit_addresses=g.block.force_64_bit_addresses,
                    )
                ),
            ]
        m.d.comb += [
            stage.i.valid.eq(sending & self.beats.valid),
            stage.i.p.ends_burst.eq(is_last & ends),
            out.data.eq(self.beats.p),
            out.strb.eq(strb | (~is_last).replicate(g.lanes)),
            out.eop.eq(is_last),
        ]
        return m

    def _send(self, m, source):
        """Connect ``o`` to ``source``; without space for a confirmation, ``source`` stalls.

        Returns whether a TLP left ``o`` in the cycle before, and whether the last TLP of a burst
        had departed then.
        """
        has_space = Signal()
        leaves = Signal()
        ends_tlp = source.p.tlp.eop
        m.d.comb += [
            self.o.valid.eq(source.valid & has_space),
            self.o.p.eq(source.p.tlp),
            source.ready.eq(self.o.ready & has_space),
            leaves.eq(source.valid & source.ready),
        ]
        # `leaves` is late: register it by itself.
        left = Signal()
        left_tlp = Signal()
        m.d.sync += [left.eq(leaves), left_tlp.eq(ends_tlp)]
        if not self._geometry.block.sequence_numbers:
            left_burst = Signal()
            m.d.sync += left_burst.eq(source.p.ends_burst)
            m.d.comb += [has_space.eq(1), self.empty.eq(1)]
            return left & left_tlp, left & left_burst
        m.submodules.queue = queue = ConfirmationQueue()
        confirmed_burst = Signal()
        m.d.comb += [
            has_space.eq(queue.has_space),
            queue.accepted.eq(leaves & ends_tlp),
            queue.mark.eq(source.p.ends_burst),
            queue.confirmed.eq(self.confirmed),
            self.empty.eq(queue.empty),
        ]
        m.d.sync += confirmed_burst.eq(queue.marked)
        return left & left_tlp, confirmed_burst
