# SPDX-License-Identifier: BSD-2-Clause
"""Decodes completions: what the header says of the read, and which dwords of a beat are payload.

PCI Express Base 4.0 sections 2.2.9 (completions), 2.3.1.1 (how a completer splits an answer).
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..geometry import Geometry
from ..tlp import CompletionHeader, CompletionStatus, TlpType, completion_signature, payload_lanes
from .limits import REQUEST_BYTES, TAGS
from .read_interfaces import TAG_BITS

__all__ = ["CompletionDecoder", "CompletionInfo", "decoded_beat"]

REQUEST_DWORDS = range(REQUEST_BYTES // 4 + 1)

BEAT_FIELDS = ("data", "strb", "sop", "eop")

POISONED = 1
"""``error`` of verilog-pcie's interface for poisoned data. Every other nonzero value ends the
request."""


class CompletionInfo(data.Struct):
    """A completion as its header describes it, whether it matches a read or not.

    Attributes
    ----------
    tag : 5 bits
        Tag of the read.
    ours : 1 bit
        It has a tag of ours and our requester ID.
    successful : 1 bit
        Its status is Successful Completion, and it has data.
    poisoned, unsupported, aborted : 1 bit
        Its data is poisoned; its status is Unsupported Request; Completer Abort.
    lower_address : 7 bits
        Low bits of the address of the first byte.
    last_byte : 2 bits
        Position in its dword of the last byte of the read.
    dwords : 11 bits
        Dwords that the read still lacks, this completion included.
    length : 8 bits
        Dwords of this completion.
    remaining : 8 bits
        Dwords that the read lacks after it.
    is_last : 1 bit
        It is the last of its read.
    too_long : 1 bit
        It is longer than what the read lacks.
    """

    tag: TAG_BITS
    ours: 1
    successful: 1
    poisoned: 1
    unsupported: 1
    aborted: 1
    lower_address: 7
    last_byte: 2
    dwords: 11
    length: REQUEST_DWORDS
    remaining: REQUEST_DWORDS
    is_last: 1
    too_long: 1


def decoded_beat(geometry: Geometry) -> data.StructLayout:
    """Beat of a completion.

    ``sop`` and ``eop``; ``data`` and its payload dwords ``strb``; ``truncated``: the beat has less
    data than the length requires, or lacks ``eop``; ``info`` of its completion; ``updates``: the
    completion begins, is ours, and is not the last of its read.
    """
    return data.StructLayout(
        {
            "sop": 1,
            "eop": 1,
            "data": geometry.data_width,
            "strb": geometry.lanes,
            "truncated": 1,
            "info": CompletionInfo,
            "updates": 1,
        }
    )


class CompletionDecoder(wiring.Component):
    """Decodes one beat per cycle, in three register stages: input, beat, output.

    Attributes
    ----------
    i : In(completion_signature(data_width))
        Completions; ``ready`` is always high.
    requester_id : In(16)
        Requester ID of the function.
    next_tag : Out(TAG_BITS)
        Tag of the beat that is on ``o`` in the next cycle.
    o : Out(stream of decoded_beat), always ready
        Beats.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        super().__init__(
            {
                "i": In(completion_signature(geometry.data_width)),
                "requester_id": In(16),
                "next_tag": Out(TAG_BITS),
                "o": Out(stream.Signature(decoded_beat(geometry), always_ready=True)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        lanes = self._geometry.lanes

        # Register the beat unconditionally: `valid` is late, and gating every bit with it costs too
        # much fan-out.
        arrival_valid = Signal()
        arrival = Signal(self.i.p.shape())
        m.d.comb += self.i.ready.eq(1)
        m.d.sync += [arrival_valid.eq(self.i.valid), arrival.eq(self.i.p)]

        # The header is kept for all beats of its completion.
        valid = Signal()
        beat = Signal(self.i.p.shape())
        span = Signal(13)
        remaining = Signal(11)
        m.d.sync += valid.eq(arrival_valid)
        with m.If(arrival_valid):
            m.d.sync += [
                *(beat[field].eq(arrival[field]) for field in BEAT_FIELDS),
                # Beats beyond the length carry no payload.
                remaining.eq(Mux(remaining > lanes, remaining - lanes, 0)),
            ]
        with m.If(arrival_valid & arrival.sop):
            header = CompletionHeader(arrival.hdr)
            m.d.sync += [
                beat.hdr.eq(arrival.hdr),
                beat.error.eq(arrival.error),
                remaining.eq(_length(header)),
                # Count bytes from the start of the first dword and round up, so that bits 2 and up
                # count whole dwords.
                span.eq(header.byte_count + (header.lower_address[:2] + 3)),
            ]
        self._decode_header(m, valid, beat, span)

        payload = Signal(lanes)
        m.d.comb += payload.eq(payload_lanes(remaining, lanes))
        out = self.o.p
        m.d.sync += [
            self.o.valid.eq(valid),
            out.sop.eq(beat.sop),
            out.eop.eq(beat.eop),
            out.data.eq(beat.data),
            out.strb.eq(payload & beat.strb),
            out.truncated.eq((payload & ~beat.strb).any() | (remaining > lanes)),
        ]
        return m

    def _decode_header(self, m, valid, beat, span):
        """Drive ``next_tag`` and ``o.p.info`` from the header of ``beat``."""
        header = CompletionHeader(beat.hdr)
        word0 = header.word0
        length = _length(header)
        has_data = word0.has_payload & ((beat.error == 0) | (beat.error == POISONED))
        is_last = length == span[2:]
        ours = Signal()
        # Bits of the requester ID that are compared: device and function number only, or all.
        compared = slice(0, 8 if self._geometry.block.ignore_bus_number else 16)
        m.d.comb += [
            self.next_tag.eq(header.tag),
            ours.eq(
                (header.tag < TAGS)
                & ~word0.t8
                & ~word0.t9
                & (header.requester_id[compared] == self.requester_id[compared])
                & (word0.type == TlpType.COMPLETION)
                & ~word0.is_prefix
            ),
        ]
        info = self.o.p.info
        m.d.sync += [
            info.tag.eq(header.tag),
            info.ours.eq(ours),
            info.successful.eq((header.status == CompletionStatus.SUCCESS) & has_data),
            info.poisoned.eq(word0.ep | (beat.error == POISONED)),
            info.unsupported.eq(header.status == CompletionStatus.UNSUPPORTED_REQUEST),
            info.aborted.eq(header.status == CompletionStatus.ABORT),
            info.lower_address.eq(header.lower_address),
            info.last_byte.eq(span[:2]),
            info.dwords.eq(span[2:]),
            info.length.eq(length),
            info.remaining.eq(span[2:] - length),
            info.is_last.eq(is_last),
            info.too_long.eq(length > span[2:]),
            self.o.p.updates.eq(valid & beat.sop & ours & ~is_last),
        ]


def _length(header: CompletionHeader) -> Value:
    """Dwords in the payload of a completion."""
    word0 = header.word0
    return Cat(word0.length, word0.length == 0)
