# SPDX-License-Identifier: BSD-2-Clause
"""AXI write bursts to memory writes, and their responses.

PCI Express Base 4.0 sections 2.2.7 (requests), 7.5.1.1.3 (Bus Master Enable). A memory write is
posted: a burst is answered when its last one has left, with SLVERR if one of them could not.
"""

from amaranth.hdl import Module, Mux, Shape, Signal
from amaranth.lib import data, fifo, wiring
from amaranth.lib.wiring import In, Out

from ..operation import Geometry
from ..tlp import raw_signature
from .axi import (
    ID_WIDTH,
    Response,
    address_channel,
    write_data_channel,
    write_response_channel,
)
from .limits import PENDING_WRITES, REQUEST_BYTES
from .write_segments import PieceFinder, Segment, Segmenter
from .write_sender import WriteSender
from .write_words import WriteCollector

__all__ = ["WriteRequester"]

SEGMENT_DEPTH = 8


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
    pending : Out(range(PENDING_WRITES + 1))
        Bursts whose data has been taken and whose memory writes have not all left.
    left : Out(1)
        One-cycle pulse: one of these is done.
    failed : Out(1)
        One-cycle pulse: a burst is answered with SLVERR.
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
                "pending": Out(range(PENDING_WRITES + 1)),
                "left": Out(1),
                "failed": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self._geometry
        m.submodules.collector = collector = WriteCollector(g)
        m.submodules.finder = finder = PieceFinder(g)
        m.submodules.segmenter = segmenter = Segmenter(g)
        # Room for a segment that is sent and one that is being put together.
        depth = 2 * REQUEST_BYTES // g.word_bytes
        m.submodules.words = words = fifo.SyncFIFOBuffered(width=g.data_width, depth=depth)
        m.submodules.segments = segments = fifo.SyncFIFOBuffered(
            width=Shape.cast(Segment).width, depth=SEGMENT_DEPTH
        )
        m.submodules.sender = sender = WriteSender(g)
        wiring.connect(m, wiring.flipped(self.aw), collector.aw)
        wiring.connect(m, wiring.flipped(self.w), collector.w)
        wiring.connect(m, collector.o, finder.i)
        wiring.connect(m, finder.o, segmenter.i)
        wiring.connect(m, segmenter.words, words.w_stream)
        wiring.connect(m, words.r_stream, sender.words)
        wiring.connect(m, sender.o, wiring.flipped(self.o))
        # A FIFO's payload is plain bits, so it cannot just be connected.
        m.d.comb += [
            segmenter.max_payload_size.eq(self.max_payload_size),
            segments.w_data.eq(segmenter.segments.p),
            segments.w_en.eq(segmenter.segments.valid),
            segmenter.segments.ready.eq(segments.w_rdy),
            sender.segments.p.eq(segments.r_data),
            sender.segments.valid.eq(segments.r_rdy),
            segments.r_en.eq(sender.segments.ready),
        ]

        # A ring of bursts, each of these four ahead of the next or level with it: what began, what
        # has its data, what is sent, what has left, what is answered. One bit more than numbers
        # the ring tells a full one from an empty one.
        pointer = range(2 * PENDING_WRITES)
        begun, complete, sent, left, answered = (
            Signal(pointer, name=name) for name in ("begun", "complete", "sent", "left", "answered")
        )
        bits = (PENDING_WRITES - 1).bit_length()
        ids = Signal(data.ArrayLayout(ID_WIDTH, PENDING_WRITES))
        failed = Signal(PENDING_WRITES)

        m.d.comb += [
            collector.room.eq((begun - answered)[: bits + 1] != PENDING_WRITES),
            self.pending.eq((complete - left)[: bits + 1]),
        ]
        with m.If(collector.malformed):
            m.d.sync += failed.bit_select((begun - 1)[:bits], 1).eq(1)
        with m.If(collector.begun):
            m.d.sync += [
                begun.eq(begun + 1),
                ids[begun[:bits]].eq(collector.id),
                failed.bit_select(begun[:bits], 1).eq(collector.refused),
            ]
        with m.If(collector.complete):
            m.d.sync += complete.eq(complete + 1)

        m.d.comb += [
            sender.void.eq(failed.bit_select(sent[:bits], 1)),
            sender.bus_master_enable.eq(self.bus_master_enable & ~self.reset),
            sender.requester_id.eq(self.requester_id),
            self.left.eq(sender.left),
        ]
        with m.If(sender.discards):
            m.d.sync += failed.bit_select(sent[:bits], 1).eq(1)
        with m.If(sender.sent):
            m.d.sync += sent.eq(sent + 1)
        with m.If(sender.left):
            m.d.sync += left.eq(left + 1)

        with m.If(self.b.ready):
            m.d.sync += self.b.valid.eq(0)
        with m.If((~self.b.valid | self.b.ready) & (answered != left)):
            oldest = answered[:bits]
            error = failed.bit_select(oldest, 1)
            m.d.sync += [
                self.b.valid.eq(1),
                self.b.p.id.eq(ids[oldest]),
                self.b.p.resp.eq(Mux(error, Response.SLVERR, Response.OKAY)),
                answered.eq(answered + 1),
            ]
            m.d.comb += self.failed.eq(error)
        with m.If(self.reset):
            m.d.sync += failed.eq(-1)
        return m
