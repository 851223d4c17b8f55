# SPDX-License-Identifier: BSD-2-Clause
"""Completions of our reads: which read each belongs to, where its data goes, what went wrong.

PCI Express Base 4.0 sections 2.2.9 (completions), 2.3.1.1 (how an answer is split), 2.3.2 (handling
of completions), 2.7.2 (poisoned data).
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
"""``error`` of verilog-pcie's interface for poisoned data; any other one but 0 ends the request."""


class CompletionInfo(data.Struct):
    """What a completion says of the read that it answers, whether there is one or not.

    ``ours``: it may answer one of our reads. ``sound``: it is successful and has data. The data
    begins at ``lower_address``; from its first dword on ``dwords`` are still to come, the last byte
    of which is byte ``tail`` of the last of them. ``length``: dwords that it brings itself, with
    ``rest`` to come after it; it ``ends`` the answer or, wrongly, ``exceeds`` it.
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
    """Takes completions at full rate, always; four cycles from a beat to the buffer.

    A completion belongs to a read when its tag is outstanding and it carries our requester id, as
    far as :class:`~hdl.block_options.BlockOptions` has that compared. It
    fails the read if it is unsuccessful, or does not go on where the read stands (byte count, lower
    address, length). A poisoned one fails it, too, but what follows is still waited for.

    Register stages behind the one at the input: the beat, with what a completion says of its read
    taken from its header alone; what its tag waits for, compared with that; the dwords on their way
    to the buffer.

    Attributes
    ----------
    i : In(completion_signature(data_width))
        Completions.
    requester_id : In(16)
    expect : In(1), expected_tag : In(TAG_BITS), awaited : In(Awaited)
        From now on ``expected_tag`` waits for ``awaited``.
    busy : Out(1)
        ``expect`` is not heard in this cycle.
    outstanding : In(TAGS)
        Tags that wait for an answer.
    tag : Out(TAG_BITS), ended : Out(1), failed : Out(1)
        A completion of ``tag`` ended: its read is complete; it failed.
    write_enable : Out(lanes), write_address : Out array of lanes, write_data : Out(data_width)
        Buffer port, a dword a lane. The cycle in which a completion ended is the last for its data.
    unexpected, unsupported, aborted, poisoned : Out(1)
        One-cycle pulses: a completion was dropped; came with Unsupported Request; with Completer
        Abort; with poisoned data.
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

        # Taken as it comes: that it is for us is known late, and would have to be everywhere.
        arrives = Signal()
        came = Signal(self.i.p.shape())
        m.d.comb += self.i.ready.eq(1)
        m.d.sync += [arrives.eq(self.i.valid), came.eq(self.i.p)]

        # The first stage. Of a header there is one for all beats of its completion.
        valid = Signal()
        beat = Signal(self.i.p.shape())
        to_end = Signal(13)
        left = Signal(11)
        m.d.sync += valid.eq(arrives)
        with m.If(arrives):
            m.d.sync += [
                *(beat[field].eq(came[field]) for field in BEAT_FIELDS),
                # What comes beyond the length is nobody's.
                left.eq(Mux(left > lanes, left - lanes, 0)),
            ]
        with m.If(arrives & came.sop):
            header = CompletionHeader(came.hdr)
            m.d.sync += [
                beat.hdr.eq(came.hdr),
                beat.error.eq(came.error),
                left.eq(_length(header)),
                # Bytes from the first dword on, so that they begin and end with whole dwords.
                to_end.eq(header.byte_count + (header.lower_address[:2] + 3)),
            ]

        header = CompletionHeader(beat.hdr)
        word0 = header.word0
        length = _length(header)
        has_data = word0.has_payload & ((beat.error == 0) | (beat.error == POISONED))
        ends = length == to_end[2:]
        ours = Signal()
        claim = Signal(CompletionInfo)
        # Of bus, device and function number.
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

        # The second stage: the claim against what its tag waits for.
        judged = Signal()
        sop = Signal()
        eop = Signal()
        content = Signal(g.data_width)
        present = Signal(lanes)
        # Less data than the header says, or no end where it should be.
        short = Signal()
        m.d.sync += [
            judged.eq(valid),
            sop.eq(beat.sop),
            eop.eq(beat.eop),
            content.eq(beat.data),
            present.eq(wanted & beat.strb),
            short.eq((wanted & ~beat.strb).any() | (left > lanes)),
        ]

        # A tag waits no more from the cycle on after its read has ended. Beats of it may be in the
        # two stages before by then.
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
        # The next completion of a read finds what this one leaves, however close it follows.
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

        # A read that is given up while its answer comes is outstanding no more, and what is still
        # to come of the answer must not land in what follows under the tag.
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

        # The third: to the lanes of the buffer.
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
            # What does not fit above the first dword's lane goes to the word after.
            wraps = offset > lane if lane < lanes - 1 else Const(0)
            m.d.comb += self.write_address[lane].eq(
                Cat((word + wraps)[: self._address_bits - TAG_BITS], self.tag)
            )
        return m


def _length(header: CompletionHeader) -> Value:
    """Dwords that a completion brings."""
    word0 = header.word0
    return Cat(word0.length, word0.length == 0)
