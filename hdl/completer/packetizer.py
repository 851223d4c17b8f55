# SPDX-License-Identifier: BSD-2-Clause
"""Completion packetizer: makes the beats of completions from the words that were read."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..fifo import LateFifo
from ..geometry import Geometry
from ..payload import PayloadAligner
from ..tlp import CompletionHeader, CompletionStatus, TlpFormat, TlpType, raw_signature
from .fetcher import READ_LATENCY, CompletionFields, WordFetch

__all__ = ["BEAT_DEPTH", "CompletionBeat", "CompletionPacketizer"]

BEAT_DEPTH = 16
"""Depth of the beat queue; one lookup-table RAM holds as many."""


class CompletionBeat(data.StructLayout):
    """What a beat of a completion has beside its data: ``strb``, ``sop`` and ``eop``; ``closes``,
    it is the last beat of its request; and the header fields that vary."""

    def __init__(self, geometry: Geometry):
        super().__init__(
            {
                "strb": geometry.lanes,
                "sop": 1,
                "eop": 1,
                "closes": 1,
                "header": CompletionFields,
            }
        )


class CompletionPacketizer(wiring.Component):
    """Aligns each word to its beat and queues :data:`BEAT_DEPTH` beats.

    Attributes
    ----------
    fetched : In(WordFetch)
        The word that is read, one cycle before its data.
    data : In(data_width)
        The word.
    has_space : Out(1)
        Words read from this cycle on have space, whatever the beats before them do.
    o : Out(raw_signature(data_width))
        Completions.
    closes : Out(1)
        The valid beat is the last one of its request.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        super().__init__(
            {
                "fetched": In(WordFetch(geometry)),
                "data": In(geometry.data_width),
                "has_space": Out(1),
                "o": Out(raw_signature(geometry.data_width)),
                "closes": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self._geometry
        m.submodules.aligner = aligner = PayloadAligner(g)
        # Two lanes are selected early enough.
        m.submodules.beats = beats = LateFifo(
            CompletionBeat(g), g.data_width, depth=BEAT_DEPTH, registered=g.lanes > 2
        )

        arrived = Signal(WordFetch(g))
        m.d.sync += arrived.eq(self.fetched)
        word, aligned = aligner.i.p, aligner.o.p
        entry = beats.i.p.early
        m.d.comb += [
            aligner.i.valid.eq(arrived.valid),
            aligner.o.ready.eq(1),
            word.data.eq(self.data),
            word.first.eq(arrived.first),
            word.last.eq(arrived.last),
            word.offset.eq(arrived.offset),
            word.direct.eq(arrived.direct),
            word.strb.eq(arrived.strb),
            beats.i.p.late.eq(aligned.data),
            entry.strb.eq(aligned.strb),
            entry.sop.eq(aligned.sop),
            entry.eop.eq(aligned.eop),
            entry.closes.eq(arrived.closes),
            entry.header.eq(arrived.header),
            beats.i.valid.eq(aligner.o.valid),
            beats.o.ready.eq(self.o.ready),
            self.o.valid.eq(beats.o.valid),
        ]
        # `level` does not count a beat for each cycle of the read, for the cycle in which the beat
        # is written, and for this register.
        m.d.sync += self.has_space.eq(beats.level <= BEAT_DEPTH - (READ_LATENCY + 2))

        beat = beats.o.p.early
        fields = beat.header
        header = Signal(CompletionHeader)
        with_data = fields.status == CompletionStatus.SUCCESS
        completion = Const(TlpType.COMPLETION.value, 5)
        m.d.comb += [
            header.lower_address.eq(fields.lower_address),
            header.tag.eq(fields.tag),
            header.requester_id.eq(fields.requester_id),
            header.byte_count.eq(fields.byte_count),
            header.status.eq(fields.status),
            header.completer_id.eq(fields.completer_id),
            header.word0.length.eq(fields.length),
            header.word0.attr.eq(fields.attr),
            header.word0.ido.eq(fields.ido),
            header.word0.tc.eq(fields.tc),
            header.word0.type.eq(Cat(fields.locked, completion[1:])),
            header.word0.fmt.eq(
                Mux(with_data, TlpFormat.DATA_3DW.value, TlpFormat.HEADER_3DW.value)
            ),
            self.o.p.data.eq(beats.o.p.late),
            self.o.p.strb.eq(beat.strb),
            self.o.p.sop.eq(beat.sop),
            self.o.p.eop.eq(beat.eop),
            self.o.p.hdr.eq(header),
            self.closes.eq(beat.closes),
        ]
        return m
