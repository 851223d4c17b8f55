# SPDX-License-Identifier: BSD-2-Clause
"""Write half of the DMA window: AXI write bursts to memory writes, and their responses.

PCI Express Base 4.0 sections 2.2.7 (requests), 7.5.1.1.3 (Bus Master Enable). Memory writes are
posted: a burst is answered when its last write has departed, with SLVERR if any could not.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from ..departures import DepartureTracker
from ..fifo import SkidBuffer, StreamFifo
from ..geometry import Geometry
from ..interfaces import FunctionControl, WriteFence
from ..tlp import raw_signature
from .axi import (
    ID_WIDTH,
    Response,
    address_channel,
    write_data_channel,
    write_response_channel,
)
from .limits import PENDING_WRITES, REQUEST_BYTES
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
        g, fence = self._geometry, self.fence
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
        for source, sink in (
            (wiring.flipped(self.aw), collector.aw),
            (wiring.flipped(self.w), collector.w),
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

        # Ring of bursts. Each pointer is ahead of the next or equal to it: begun, sent, departed,
        # answered. The pointers have one bit more than a place, to tell a full ring from an empty
        # one.
        pointer = range(2 * PENDING_WRITES)
        begun, sent, departed, answered = (
            Signal(pointer, name=name) for name in ("begun", "sent", "departed", "answered")
        )
        bits = (PENDING_WRITES - 1).bit_length()
        m.submodules.ids = ids = memory.Memory(shape=ID_WIDTH, depth=PENDING_WRITES, init=[])
        id_of_begun, id_of_oldest = ids.write_port(), ids.read_port(domain="comb")
        failed = Signal(PENDING_WRITES)
        current = Signal(bits)
        m.d.comb += [
            segmenter.has_space.eq(beats.half_empty & segments.half_empty),
            finder.max_payload_size.eq(self.control.max_payload_size),
            collector.reset.eq(self.control.reset),
            id_of_begun.addr.eq(begun),
            id_of_begun.data.eq(collector.id),
            id_of_begun.en.eq(collector.begun),
            id_of_oldest.addr.eq(answered),
        ]
        # Registered: a burst that is answered in this cycle makes space from the next cycle on.
        next_begun = Mux(collector.begun, begun + 1, begun)[: len(begun)]
        m.d.sync += collector.has_space.eq((next_begun ^ answered) != PENDING_WRITES)
        # Clear the failure of the burst that had the place before, one cycle after the new burst
        # begins: `begun` is late.
        begun_q = Signal()
        m.d.sync += begun_q.eq(collector.begun & ~self.control.reset)
        with m.If(begun_q):
            m.d.sync += failed.bit_select(current, 1).eq(0)
        with m.If(collector.failing):
            m.d.sync += failed.bit_select(current, 1).eq(1)
        with m.If(collector.begun):
            m.d.sync += [begun.eq(begun + 1), current.eq(begun)]
        with m.If(collector.complete ^ sender.burst_departed):
            m.d.sync += fence.pending.eq(fence.pending + Mux(sender.burst_departed, -1, 1))

        # Look up one cycle ahead whether the burst of the next segment has failed.
        next_sent = Signal(bits)
        m.d.comb += [
            next_sent.eq(sent + 1),
            sender.bus_master_enable.eq(self.control.bus_master_enable & ~self.control.reset),
            sender.requester_id.eq(self.control.requester_id),
            sender.confirmed.eq(self.confirmed),
            self.empty.eq(sender.empty),
            fence.accepted.eq(collector.complete),
            fence.departed.eq(sender.burst_departed),
        ]
        m.d.sync += sender.abort.eq(
            Mux(sender.sent, failed.bit_select(next_sent, 1), failed.bit_select(sent[:bits], 1))
            | self.control.reset
        )
        with m.If(sender.discards):
            m.d.sync += failed.bit_select(sent[:bits], 1).eq(1)
        with m.If(sender.sent):
            m.d.sync += sent.eq(sent + 1)
        with m.If(sender.burst_departed):
            m.d.sync += departed.eq(departed + 1)

        m.d.sync += self.failed.eq(0)
        with m.If(self.b.ready):
            m.d.sync += self.b.valid.eq(0)
        with m.If((~self.b.valid | self.b.ready) & (answered != departed)):
            error = failed.bit_select(answered[:bits], 1)
            m.d.sync += [
                self.b.valid.eq(1),
                self.b.p.id.eq(id_of_oldest.data),
                self.b.p.resp.eq(Mux(error, Response.SLVERR, Response.OKAY)),
                self.failed.eq(error),
                answered.eq(answered + 1),
            ]
        with m.If(self.control.reset):
            m.d.sync += failed.eq(-1)
        return m
