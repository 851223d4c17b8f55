# SPDX-License-Identifier: BSD-2-Clause
"""AXI write bursts to memory writes, and their responses.

PCI Express Base 4.0 sections 2.2.7 (requests), 7.5.1.1.3 (Bus Master Enable). A memory write is
posted: a burst is answered when its last one has left, with SLVERR if one of them could not.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from ..departures import DepartureTracker
from ..fifo import SkidBuffer, StreamFifo
from ..geometry import Geometry
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

MOST_SEGMENTS = 2 * SEGMENT_DEPTH - 1
"""Segments from their first piece to their last beat: more than there can be."""


class WriteRequester(wiring.Component):
    """The write half of the DMA window.

    A segment is sent when all of its data is there: a manager that stops in the middle of a burst
    holds up nobody else.

    Attributes
    ----------
    aw, w : In, b : Out
        Channels of :class:`~hdl.dma.axi.AxiSignature`.
    o : Out(raw_signature(data_width))
        Memory writes.
    reset : In(1)
        The function is being reset: what has not left by then never does, and is answered with
        SLVERR.
    bus_master_enable : In(1), requester_id : In(16), max_payload_size : In(3)
        From configuration space.
    confirmed : In(1), empty : Out(1)
        As for :class:`~hdl.dma.write_sender.WriteSender`.
    pending : Out(range(PENDING_WRITES + 1))
        Bursts whose data has been taken and whose memory writes have not all left.
    taken : Out(1)
        One-cycle pulse: in the cycle before, the last of a burst's data was, which counts as
        pending from the next cycle on.
    left : Out(1)
        One-cycle pulse: one of these is done.
    failed : Out(1)
        One-cycle pulse: a burst is answered with SLVERR.
    former : Out(1)
        A memory write has not left that was cut before ``max_payload_size`` fell, or that began
        before ``bus_master_enable`` did or a reset; valid from the cycle after that on.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        super().__init__(
            {
                "aw": In(address_channel()),
                "w": In(write_data_channel(geometry.data_width)),
                "b": Out(write_response_channel()),
                "o": Out(raw_signature(geometry.data_width)),
                "reset": In(1),
                "bus_master_enable": In(1),
                "requester_id": In(16),
                "max_payload_size": In(3),
                "confirmed": In(1),
                "empty": Out(1),
                "pending": Out(range(PENDING_WRITES + 1)),
                "taken": Out(1),
                "left": Out(1),
                "failed": Out(1),
                "former": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self._geometry
        m.submodules.collector = collector = WriteCollector(g)
        # The manager is told whether a beat is taken, wherever the finder stands.
        m.submodules.words = words = SkidBuffer(written_word(g))
        m.submodules.finder = finder = PieceFinder(g)
        m.submodules.segmenter = segmenter = Segmenter(g)
        # While there is room for two segments, as in a FIFO of four that is less than half full,
        # one can be put together as another is sent.
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

        # A segment that begins in the cycle in which the finder's mask falls is a former one.
        m.submodules.tracker = tracker = DepartureTracker(MOST_SEGMENTS)
        m.d.sync += tracker.fell.eq(finder.fell)
        m.d.comb += [
            tracker.planned.eq(segmenter.begins),
            tracker.departed.eq(sender.departed),
            self.former.eq(finder.fell | tracker.fell | tracker.former | sender.former),
        ]

        # A ring of bursts, each of these four ahead of the next or level with it: what began, what
        # is sent, what has left, what is answered. One bit more than numbers the ring tells a full
        # one from an empty one.
        pointer = range(2 * PENDING_WRITES)
        begun, sent, left, answered = (
            Signal(pointer, name=name) for name in ("begun", "sent", "left", "answered")
        )
        bits = (PENDING_WRITES - 1).bit_length()
        m.submodules.ids = ids = memory.Memory(shape=ID_WIDTH, depth=PENDING_WRITES, init=[])
        id_of_begun, id_of_oldest = ids.write_port(), ids.read_port(domain="comb")
        failed = Signal(PENDING_WRITES)
        current = Signal(bits)
        m.d.comb += [
            segmenter.room.eq(beats.roomy & segments.roomy),
            finder.max_payload_size.eq(self.max_payload_size),
            collector.reset.eq(self.reset),
            id_of_begun.addr.eq(begun),
            id_of_begun.data.eq(collector.id),
            id_of_begun.en.eq(collector.begun),
            id_of_oldest.addr.eq(answered),
        ]
        # Known from the start of the cycle; one that is answered in it makes room in the next.
        after_begun = Mux(collector.begun, begun + 1, begun)[: len(begun)]
        m.d.sync += collector.room.eq((after_begun ^ answered) != PENDING_WRITES)
        # Not the failure of who had the place before; a cycle after, since that one begins is late.
        started = Signal()
        m.d.sync += started.eq(collector.begun & ~self.reset)
        with m.If(started):
            m.d.sync += failed.bit_select(current, 1).eq(0)
        with m.If(collector.failing):
            m.d.sync += failed.bit_select(current, 1).eq(1)
        with m.If(collector.begun):
            m.d.sync += [begun.eq(begun + 1), current.eq(begun)]
        with m.If(collector.complete ^ sender.left):
            m.d.sync += self.pending.eq(self.pending + Mux(sender.left, -1, 1))

        # Whether the burst of the segment that comes next has failed is looked up a cycle ahead.
        after = Signal(bits)
        m.d.comb += [
            after.eq(sent + 1),
            sender.bus_master_enable.eq(self.bus_master_enable & ~self.reset),
            sender.requester_id.eq(self.requester_id),
            sender.confirmed.eq(self.confirmed),
            self.empty.eq(sender.empty),
            self.taken.eq(collector.complete),
            self.left.eq(sender.left),
        ]
        m.d.sync += sender.void.eq(
            Mux(sender.sent, failed.bit_select(after, 1), failed.bit_select(sent[:bits], 1))
            | self.reset
        )
        with m.If(sender.discards):
            m.d.sync += failed.bit_select(sent[:bits], 1).eq(1)
        with m.If(sender.sent):
            m.d.sync += sent.eq(sent + 1)
        with m.If(sender.left):
            m.d.sync += left.eq(left + 1)

        m.d.sync += self.failed.eq(0)
        with m.If(self.b.ready):
            m.d.sync += self.b.valid.eq(0)
        with m.If((~self.b.valid | self.b.ready) & (answered != left)):
            error = failed.bit_select(answered[:bits], 1)
            m.d.sync += [
                self.b.valid.eq(1),
                self.b.p.id.eq(id_of_oldest.data),
                self.b.p.resp.eq(Mux(error, Response.SLVERR, Response.OKAY)),
                self.failed.eq(error),
                answered.eq(answered + 1),
            ]
        with m.If(self.reset):
            m.d.sync += failed.eq(-1)
        return m
