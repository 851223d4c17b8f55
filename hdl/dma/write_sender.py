# SPDX-License-Identifier: BSD-2-Clause
"""Sends segments as memory writes, or throws them away.

PCI Express Base 4.0 sections 2.2.7 (requests), 7.5.1.1.3 (Bus Master Enable).
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..operation import Geometry
from ..payload import PayloadAligner, is_direct, last_strobes, words_taken
from ..tlp import memory_header, raw_signature
from .limits import REQUEST_BYTES
from .write_segments import Segment

__all__ = ["WriteSender"]


class WriteSender(wiring.Component):
    """Takes each segment with its words and makes a TLP of it, a beat a cycle.

    Attributes
    ----------
    segments : In(stream of Segment)
    words : In(stream of data_width)
        The words that a segment lies in are there before the segment is.
    o : Out(raw_signature(data_width))
        Memory writes. One is given up no more once it is valid.
    void : In(1)
        The burst that the next segment belongs to has failed already.
    bus_master_enable : In(1), requester_id : In(16)
    discards : Out(1)
        One-cycle pulse: a segment is thrown away.
    sent : Out(1)
        One-cycle pulse: the last segment of a burst is taken.
    left : Out(1)
        One-cycle pulse, in the order of the bursts: all that was to leave of one has left.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        super().__init__(
            {
                "segments": In(stream.Signature(Segment)),
                "words": In(stream.Signature(geometry.data_width)),
                "o": Out(raw_signature(geometry.data_width)),
                "void": In(1),
                "bus_master_enable": In(1),
                "requester_id": In(16),
                "discards": Out(1),
                "sent": Out(1),
                "left": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self._geometry
        segment = self.segments.p
        m.submodules.aligner = aligner = PayloadAligner(g)
        word = aligner.i.p
        wiring.connect(m, aligner.o, wiring.flipped(self.o))

        offset = segment.address[: g.lane_bits]
        step = Signal(range(REQUEST_BYTES // g.word_bytes + 2))
        steps = Signal.like(step)
        words = Signal.like(step)
        goes = Signal()
        discarded = Signal()
        discard = Signal()
        final = Signal()
        marker = segment.dwords == 0
        m.d.comb += [
            steps.eq(words_taken(offset, segment.dwords, g.lanes)),
            words.eq((offset + segment.dwords + (g.lanes - 1)) >> g.lane_bits),
            # What has begun to leave is finished.
            discard.eq(Mux(step == 0, self.void | ~self.bus_master_enable, discarded)),
        ]

        with m.If(~self.segments.valid):
            m.d.comb += goes.eq(0)
        with m.Elif(marker | discard):
            # Nothing of this burst is to leave any more, but of the one before.
            may_end = ~segment.ends | ~aligner.o.valid
            m.d.comb += [
                final.eq(marker | (step == words - 1)),
                goes.eq((self.words.valid | marker) & (~final | may_end)),
                self.words.ready.eq(goes & ~marker),
                self.discards.eq(goes & ~marker),
                self.left.eq(goes & final & segment.ends),
            ]
        with m.Else():
            wanted = step < words
            m.d.comb += [
                final.eq(step == steps - 1),
                aligner.i.valid.eq(self.words.valid | ~wanted),
                goes.eq(aligner.i.valid & aligner.i.ready),
                self.words.ready.eq(aligner.i.ready & wanted),
            ]
        m.d.comb += [
            word.data.eq(self.words.p),
            word.first.eq(step == 0),
            word.last.eq(final),
            word.offset.eq(offset),
            word.direct.eq(is_direct(offset, segment.dwords, g.lanes)),
            word.strb.eq(last_strobes(segment.dwords, g.lanes)),
            word.mark.eq(segment.ends),
            word.hdr.eq(
                memory_header(
                    address=segment.address,
                    length=segment.dwords,
                    first_be=segment.first_be,
                    last_be=segment.last_be,
                    requester_id=self.requester_id,
                    write=True,
                )
            ),
            self.segments.ready.eq(goes & final),
            self.sent.eq(goes & final & segment.ends),
        ]
        with m.If(goes):
            m.d.sync += [
                step.eq(Mux(final, 0, step + 1)),
                discarded.eq(discard),
            ]
        with m.If(self.o.valid & self.o.ready & self.o.p.eop & aligner.marked):
            m.d.comb += self.left.eq(1)
        return m
