# SPDX-License-Identifier: BSD-2-Clause
"""Receives completions: matches them with outstanding reads, stores their data, reports errors.

PCI Express Base 4.0 sections 2.2.9 (completions), 2.3.1.1 (how a completer splits an answer), 2.3.2
(handling of completions), 2.7.2 (poisoned data).
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from ..geometry import Geometry
from ..lanes import rotate_left_lanes
from ..tlp import CompletionHeader, CompletionStatus, TlpType, completion_signature, payload_lanes
from .limits import REQUEST_BYTES, TAGS
from .read_issue import TAG_BITS, ExpectedData

__all__ = ["CompletionReceiver"]

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
    sound : 1 bit
        It is successful and has data.
    poisoned, unsupported, aborted : 1 bit
        Its data is poisoned; its status is Unsupported Request; Completer Abort.
    lower_address : 7 bits
        Low bits of the address of the first byte.
    tail : 2 bits
        Position in its dword of the last byte of the read.
    dwords : 11 bits
        Dwords that the read still lacks, this completion included.
    length : 8 bits
        Dwords of this completion.
    rest : 8 bits
        Dwords that the read lacks after it.
    ends : 1 bit
        It is the last of its read.
    exceeds : 1 bit
        It is longer than what the read lacks, which is an error.
    goes_on : 1 bit
        It begins in this cycle, is ours, and is not the last of its read.
    """

    tag: TAG_BITS
    ours: 1
    sound: 1
    poisoned: 1
    unsupported: 1
    aborted: 1
    lower_address: 7
    tail: 2
    dwords: 11
    length: REQUEST_DWORDS
    rest: REQUEST_DWORDS
    ends: 1
    exceeds: 1
    goes_on: 1


class CompletionReceiver(wiring.Component):
    """Receives completions at full rate; four cycles from a beat to the buffer.

    A completion matches a read when its tag is outstanding and it carries our requester ID, as far
    as :class:`~hdl.block_options.BlockOptions` has the ID compared. It fails the read when it is
    unsuccessful, or when its byte count, lower address or length do not continue the read. A
    poisoned completion also fails the read, but the read stays outstanding for the completions that
    follow.

    There are four register stages: the input; the beat and what its header alone says of the read;
    the comparison with what the tag expects; the dwords on their way to the buffer.

    Attributes
    ----------
    i : In(completion_signature(data_width))
        Completions; ``ready`` is always high.
    requester_id : In(16)
        Requester ID of the function.
    expect : In(1)
        One-cycle pulse: ``expected_tag`` expects ``awaited`` from the next cycle on.
    expected_tag : In(TAG_BITS)
        Tag of a new read.
    awaited : In(ExpectedData)
        Its data.
    busy : Out(1)
        ``expect`` is ignored in this cycle.
    outstanding : In(TAGS)
        A bit for each tag: its read is outstanding.
    tag : Out(TAG_BITS)
        Tag of the completion whose end is reported.
    ended : Out(1)
        One-cycle pulse: the read with ``tag`` is complete.
    failed : Out(1)
        One-cycle pulse: the read with ``tag`` failed.
    write_enable : Out(lanes)
        Buffer port: a bit for each lane, which is one dword wide. The data of a completion is
        written by the cycle of ``ended``.
    write_address : Out(TAG_BITS + word bits).array(lanes)
        Word address for each lane: the word within the tag, below the tag.
    write_data : Out(data_width)
        Data.
    unexpected : Out(1)
        One-cycle pulse: a completion was dropped.
    unsupported : Out(1)
        One-cycle pulse: a completion had the status Unsupported Request.
    aborted : Out(1)
        One-cycle pulse: a completion had the status Completer Abort.
    poisoned : Out(1)
        One-cycle pulse: a completion had poisoned data.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        words = REQUEST_BYTES // geometry.word_bytes
        self._address_bits = TAG_BITS + (words - 1).bit_length()
        super().__init__(
            {
                "i": In(completion_signature(geometry.data_width)),
                "requester_id": In(16),
                "expect": In(1),
                "expected_tag": In(TAG_BITS),
                "awaited": In(ExpectedData),
                "busy": Out(1),
                "outstanding": In(TAGS),
                "tag": Out(TAG_BITS),
                "ended": Out(1),
                "failed": Out(1),
                "write_enable": Out(geometry.lanes),
                "write_address": Out(self._address_bits).array(geometry.lanes),
                "write_data": Out(geometry.data_width),
                "unexpected": Out(1),
                "unsupported": Out(1),
                "aborted": Out(1),
                "poisoned": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self._geometry
        lanes, lane_bits = g.lanes, g.lane_bits

        # Register the beat unconditionally: `valid` is late, and gating every bit with it costs too
        # much fan-out.
        arrives = Signal()
        came = Signal(self.i.p.shape())
        m.d.comb += self.i.ready.eq(1)
        m.d.sync += [arrives.eq(self.i.valid), came.eq(self.i.p)]

        # First stage: the beat. The header is kept for all beats of its completion.
        valid = Signal()
        beat = Signal(self.i.p.shape())
        to_end = Signal(13)
        left = Signal(11)
        m.d.sync += valid.eq(arrives)
        with m.If(arrives):
            m.d.sync += [
                *(beat[field].eq(came[field]) for field in BEAT_FIELDS),
                # Beats beyond the length carry no payload.
                left.eq(Mux(left > lanes, left - lanes, 0)),
            ]
        with m.If(arrives & came.sop):
            header = CompletionHeader(came.hdr)
            m.d.sync += [
                beat.hdr.eq(came.hdr),
                beat.error.eq(came.error),
                left.eq(_length(header)),
                # Count from the start of the first dword and round up, so that bits 2 and up count
                # whole dwords.
                to_end.eq(header.byte_count + (header.lower_address[:2] + 3)),
            ]

        header = CompletionHeader(beat.hdr)
        word0 = header.word0
        length = _length(header)
        has_data = word0.has_payload & ((beat.error == 0) | (beat.error == POISONED))
        ends = length == to_end[2:]
        ours = Signal()
        claim = Signal(CompletionInfo)
        # Bits of the requester ID that are compared: device and function number only, or all.
        compared = slice(0, 8 if g.block.ignore_bus_number else 16)
        m.d.comb += ours.eq(
            (header.tag < TAGS)
            & ~word0.t8
            & ~word0.t9
            & (header.requester_id[compared] == self.requester_id[compared])
            & (word0.type == TlpType.COMPLETION)
            & ~word0.is_prefix
        )
        m.d.sync += [
            claim.tag.eq(header.tag),
            claim.ours.eq(ours),
            claim.goes_on.eq(valid & beat.sop & ours & ~ends),
            claim.sound.eq((header.status == CompletionStatus.SUCCESS) & has_data),
            claim.poisoned.eq(word0.ep | (beat.error == POISONED)),
            claim.unsupported.eq(header.status == CompletionStatus.UNSUPPORTED_REQUEST),
            claim.aborted.eq(header.status == CompletionStatus.ABORT),
            claim.lower_address.eq(header.lower_address),
            claim.tail.eq(to_end[:2]),
            claim.dwords.eq(to_end[2:]),
            claim.length.eq(length),
            claim.rest.eq(to_end[2:] - length),
            claim.ends.eq(ends),
            claim.exceeds.eq(length > to_end[2:]),
        ]

        wanted = Signal(lanes)
        m.d.comb += wanted.eq(payload_lanes(left, lanes))

        # Second stage: compare with what the tag expects.
        judged = Signal()
        sop = Signal()
        eop = Signal()
        content = Signal(g.data_width)
        present = Signal(lanes)
        # The beat has less data than the length requires, or lacks `eop`.
        short = Signal()
        m.d.sync += [
            judged.eq(valid),
            sop.eq(beat.sop),
            eop.eq(beat.eop),
            content.eq(beat.data),
            present.eq(wanted & beat.strb),
            short.eq((wanted & ~beat.strb).any() | (left > lanes)),
        ]

        # A tag is no longer outstanding from the cycle after its read ended; up to two beats for it
        # may already be in the earlier stages.
        tag = header.tag[:TAG_BITS]
        open_before = Signal()
        same = Signal()
        still_open = open_before & ~(self.ended & same)
        m.d.sync += [
            open_before.eq(self.outstanding.bit_select(tag, 1) & ~(self.ended & (self.tag == tag))),
            same.eq(tag == claim.tag),
        ]

        m.submodules.table = table = memory.Memory(shape=ExpectedData, depth=TAGS, init=[])
        store, look_up = table.write_port(), table.read_port(domain="comb")
        stands = Signal(ExpectedData)
        after = Signal(ExpectedData)
        advances = claim.goes_on & still_open
        m.d.comb += [
            look_up.addr.eq(tag),
            after.tail.eq(stands.tail),
            after.dwords.eq(claim.rest),
            after.offset.eq(Cat(Const(0, 2), stands.offset[2:] + claim.length)),
            self.busy.eq(claim.goes_on),
            store.addr.eq(Mux(claim.goes_on, claim.tag, self.expected_tag)),
            store.data.eq(Mux(claim.goes_on, after, self.awaited)),
            store.en.eq(Mux(claim.goes_on, still_open, self.expect)),
        ]
        # Forward the new state to a completion of the same read that follows immediately.
        m.d.sync += stands.eq(Mux(advances & (tag == claim.tag), after, look_up.data))

        starts = judged & sop
        expected = Signal()
        good = Signal()
        m.d.comb += [
            expected.eq(claim.ours & still_open),
            good.eq(
                claim.sound
                & ~claim.exceeds
                & (claim.lower_address == stands.offset[:7])
                & (claim.dwords == stands.dwords)
                & (claim.tail == stands.tail)
            ),
        ]

        # A read that times out in the middle of a completion is no longer outstanding. The rest of
        # the completion must not be stored for the next read with the tag.
        taking = Signal()
        writing = Signal()
        fails = Signal()
        completes = Signal()
        now_taking = Signal()
        now_writing = Signal()
        now_fails = Signal()
        now_completes = Signal()
        with m.If(sop):
            m.d.comb += [
                now_taking.eq(expected),
                now_writing.eq(good),
                now_fails.eq(~good | claim.poisoned),
                now_completes.eq(~good | claim.ends),
            ]
        with m.Else():
            m.d.comb += [
                now_taking.eq(taking & still_open),
                now_writing.eq(writing),
                now_fails.eq(fails),
                now_completes.eq(completes),
            ]
        with m.If(judged):
            m.d.sync += [
                taking.eq(now_taking & ~eop),
                writing.eq(now_writing),
                fails.eq(now_fails),
                completes.eq(now_completes),
            ]
        with m.Elif(~still_open):
            m.d.sync += taking.eq(0)
        done = judged & eop & now_taking
        m.d.sync += [
            self.tag.eq(claim.tag),
            self.failed.eq(done & (now_fails | short)),
            self.ended.eq(done & (now_completes | short)),
            self.unexpected.eq(starts & ~expected),
            self.unsupported.eq(starts & expected & claim.unsupported),
            self.aborted.eq(starts & expected & claim.aborted),
            self.poisoned.eq(starts & expected & good & claim.poisoned),
        ]

        # Third stage: the lanes of the buffer.
        stored = Signal()
        arrived = Signal(g.data_width)
        arrived_lanes = Signal(lanes)
        place = Signal(range(REQUEST_BYTES // 4))
        m.d.sync += [
            stored.eq(judged & now_taking & now_writing),
            arrived.eq(content),
            arrived_lanes.eq(present),
        ]
        with m.If(judged):
            m.d.sync += place.eq(Mux(sop, stands.offset[2:], place + lanes))
        offset = place[:lane_bits]
        word = place[lane_bits:]
        m.d.comb += self.write_data.eq(rotate_left_lanes(arrived, offset, 32, lanes))
        with m.If(stored):
            m.d.comb += self.write_enable.eq(rotate_left_lanes(arrived_lanes, offset, 1, lanes))
        for lane in range(lanes):
            # Dwords that pass the top lane go to the next word.
            wraps = offset > lane if lane < lanes - 1 else Const(0)
            m.d.comb += self.write_address[lane].eq(
                Cat((word + wraps)[: self._address_bits - TAG_BITS], self.tag)
            )
        return m


def _length(header: CompletionHeader) -> Value:
    """Dwords in the payload of a completion."""
    word0 = header.word0
    return Cat(word0.length, word0.length == 0)
