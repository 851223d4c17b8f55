# SPDX-License-Identifier: BSD-2-Clause
"""Completion packetizer: makes the beats of completions from the words that were read."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..geometry import Geometry
from ..payload import PayloadQueue
from ..tlp import CompletionHeader, CompletionStatus, TlpFormat, TlpType, raw_signature
from .fetcher import READ_LATENCY, CompletionFields, WordFetch

__all__ = ["BEAT_DEPTH", "BeatFields", "CompletionPacketizer"]

BEAT_DEPTH = 16
"""Depth of the beat queue; one lookup-table RAM holds as many."""


class BeatFields(data.Struct):
    """What a beat of a completion has beside its payload: ``closes``, it is the last beat of its
    request; and the header fields that vary."""

    closes: 1
    header: CompletionFields


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
        m.submodules.beats = beats = PayloadQueue(g, BeatFields, depth=BEAT_DEPTH)

        arrived = Signal(WordFetch(g))
        m.d.sync += arrived.eq(self.fetched)
        word = beats.i.p
        m.d.comb += [
            beats.i.valid.eq(arrived.valid),
            word.data.eq(self.data),
            word.first.eq(arrived.first),
            word.last.eq(arrived.last),
            word.offset.eq(arrived.offset),
            word.direct.eq(arrived.direct),
            word.strb.eq(arrived.strb),
            word.fields.closes.eq(arrived.closes),
            word.fields.header.eq(arrived.header),
            beats.o.ready.eq(self.o.ready),
            self.o.valid.eq(beats.o.valid),
        ]
        # `level` does not count a beat for each cycle of the read, for the cycle in which the beat
        # is written, and for this register; and one place is that of the beat that is being filled.
        m.d.sync += self.has_space.eq(beats.level <= BEAT_DEPTH - (READ_LATENCY + 3))

        beat = beats.o.p.context
        fields = beat.fields.header
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
            self.o.p.data.eq(beats.o.p.data),
            self.o.p.strb.eq(beat.strb),
            self.o.p.sop.eq(beat.sop),
            self.o.p.eop.eq(beat.eop),
            self.o.p.hdr.eq(header),
            self.closes.eq(beat.fields.closes),
        ]
        return m
