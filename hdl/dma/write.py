# SPDX-License-Identifier: BSD-2-Clause
"""Write half of the DMA window: AXI write bursts to memory writes, and their responses.

PCI Express Base 4.0 sections 2.2.7 (requests), 7.5.1.1.3 (Bus Master Enable). Memory writes are
posted: a burst is answered when its last write has departed, with SLVERR if any could not.
"""

from amaranth.hdl import Module, Mux
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..departures import DepartureTracker
from ..fifo import SkidBuffer, StreamFifo
from ..geometry import Geometry
from ..interfaces import FunctionControl, WriteFence
from ..tlp import raw_signature
from .axi import address_channel, write_data_channel, write_response_channel
from .limits import REQUEST_BYTES
from .write_bursts import WriteBursts
from .write_pieces import PieceFinder
from .write_segments import Segment, Segmenter
from .write_sender import WriteSender
from .write_words import WriteCollector, written_word

__all__ = ["WriteRequester"]

SEGMENT_DEPTH = 16

MAX_SEGMENTS = 2 * SEGMENT_DEPTH - 1
"""Bound on the segments between their first piece and their last beat."""


class WriteRequester(wiring.Component):
    """Turns write bursts into memory writes and answers them.

    A memory write is sent only when all of its data is there, so a manager that stops in the middle
    of a burst does not stall other traffic.

    Attributes
    ----------
    aw : In(address_channel())
        AW channel.
    w : In(write_data_channel(data_width))
        W channel.
    b : Out(write_response_channel())
        B channel.
    o : Out(raw_signature(data_width))
        Memory writes.
    control : In(FunctionControl())
        Settings of the function. During its reset, writes that have not departed are dropped, and
        their bursts are answered with SLVERR.
    confirmed : In(1)
        As in :class:`~hdl.dma.write_sender.WriteSender`.
    empty : Out(1)
        As in :class:`~hdl.dma.write_sender.WriteSender`.
    fence : Out(WriteFence())
        Bursts in flight: their data was accepted and their memory writes have not all departed. A
        burst whose memory writes were dropped departs like the others.
    failed : Out(1)
        One-cycle pulse: a burst is answered with SLVERR.
    former : Out(1)
        A memory write has not departed that began before ``max_payload_size`` or
        ``bus_master_enable`` fell, or before a reset. Valid from the next cycle on.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        super().__init__(
            {
                "aw": In(address_channel()),
                "w": In(write_data_channel(geometry.data_width)),
                "b": Out(write_response_channel()),
                "o": Out(raw_signature(geometry.data_width)),
                "control": In(FunctionControl()),
                "confirmed": In(1),
                "empty": Out(1),
                "fence": Out(WriteFence()),
                "failed": Out(1),
                "former": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g, control, fence = self._geometry, self.control, self.fence
        m.submodules.collector = collector = WriteCollector(g)
        # Skid buffer: `finder.i.ready` is late and must not reach `w.ready`.
        m.submodules.words = words = SkidBuffer(written_word(g))
        m.submodules.finder = finder = PieceFinder(g)
        m.submodules.segmenter = segmenter = Segmenter(g)
        # `beats` holds four segments of maximum length. While it is less than half full, two more
        # fit: one can be assembled while another is sent.
        depth = 4 * REQUEST_BYTES // g.word_bytes
        m.submodules.beats = beats = StreamFifo(g.data_width, depth=depth)
        m.submodules.segments = segments = StreamFifo(Segment, depth=SEGMENT_DEPTH)
        m.submodules.sender = sender = WriteSender(g)
        m.submodules.bursts = bursts = WriteBursts()
        for source, sink in (
            (wiring.flipped(self.aw), collector.aw),
            (wiring.flipped(self.w), collector.w),
            (bursts.b, wiring.flipped(self.b)),
            (collector.o, words.i),
            (words.o, finder.i),
            (finder.o, segmenter.i),
            (segmenter.beats, beats.i),
            (segmenter.segments, segments.i),
            (beats.o, sender.beats),
            (segments.o, sender.segments),
            (sender.o, wiring.flipped(self.o)),
        ):
            wiring.connect(m, source, sink)

        # Delay `fell` like `begins`: a segment whose first piece is accepted while `finder.fell` is
        # high counts as former.
        m.submodules.tracker = tracker = DepartureTracker(MAX_SEGMENTS)
        m.d.sync += tracker.fell.eq(finder.fell)
        m.d.comb += [
            tracker.planned.eq(segmenter.begins),
            tracker.departed.eq(sender.segment_departed),
            self.former.eq(finder.fell | tracker.fell | tracker.former | sender.former),
        ]

        m.d.comb += [
            segmenter.has_space.eq(beats.half_empty & segments.half_empty),
            finder.max_payload_size.eq(control.max_payload_size),
            collector.reset.eq(control.reset),
            collector.has_space.eq(bursts.has_space),
            bursts.reset.eq(control.reset),
            bursts.begin.eq(collector.begun),
            bursts.id.eq(collector.id),
            bursts.failing.eq(collector.failing),
            bursts.sent.eq(sender.sent),
            bursts.discarded.eq(sender.discards),
            bursts.departed.eq(sender.burst_departed),
            sender.abort.eq(bursts.abort),
            sender.bus_master_enable.eq(control.bus_master_enable & ~control.reset),
            sender.requester_id.eq(control.requester_id),
            sender.confirmed.eq(self.confirmed),
            self.empty.eq(sender.empty),
            self.failed.eq(bursts.failed),
            fence.accepted.eq(collector.complete),
            fence.departed.eq(sender.burst_departed),
        ]
        with m.If(collector.complete ^ sender.burst_departed):
            m.d.sync += fence.pending.eq(fence.pending + Mux(sender.burst_departed, -1, 1))
        return m
