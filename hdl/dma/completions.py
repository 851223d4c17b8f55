# SPDX-License-Identifier: BSD-2-Clause
"""Completions of our reads: which read each belongs to, where its data goes, what went wrong.

PCI Express Base 4.0 sections 2.2.9 (completions), 2.3.1.1 (how an answer is split), 2.3.2 (handling
of completions), 2.7.2 (poisoned data).
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from ..lanes import rotate_left_lanes
from ..operation import Geometry
from ..tlp import CompletionHeader, CompletionStatus, TlpType, completion_signature, payload_lanes
from .limits import REQUEST_BYTES, TAGS
from .read_issue import TAG_BITS, Chunk

__all__ = ["CompletionReceiver"]

POISONED = 1
"""``error`` of verilog-pcie's interface for poisoned data; any other one but 0 ends the request."""


class Progress(data.Struct):
    """What a read still waits for: ``count`` bytes, the first of them at ``offset``."""

    offset: range(REQUEST_BYTES)
    count: range(REQUEST_BYTES + 1)


class CompletionReceiver(wiring.Component):
    """Takes completions at full rate, always; two cycles from a beat to the buffer.

    A completion belongs to a read when its tag is outstanding and it carries our requester id. It
    fails the read if it is unsuccessful, or does not go on where the read stands (byte count, lower
    address, length). A poisoned one fails it, too, but what follows is still waited for.

    Attributes
    ----------
    i : In(completion_signature(data_width))
        Completions.
    requester_id : In(16)
    outstanding : In(TAGS)
        Tags that wait for an answer.
    fresh : In(TAGS)
        Those of them that have had none yet.
    tag : Out(TAG_BITS), chunk : In(Chunk)
        Look-up of what a tag is for, in the same cycle.
    began : Out(1)
        The first completion of ``tag`` is being taken.
    ended : Out(1), failed : Out(1)
        A completion of ``tag`` ends in this cycle: its read is complete; it failed.
    write_enable : Out(lanes), write_address : Out array of lanes, write_data : Out(data_width)
        Buffer port, a dword a lane.
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
                "outstanding": In(TAGS),
                "fresh": In(TAGS),
                "tag": Out(TAG_BITS),
                "chunk": In(Chunk),
                "began": Out(1),
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

        # Looked at the cycle after it came: the tag leads to what is compared with the rest.
        valid = Signal()
        beat = Signal(self.i.p.shape())
        m.d.comb += self.i.ready.eq(1)
        m.d.sync += valid.eq(self.i.valid)
        with m.If(self.i.valid):
            m.d.sync += beat.eq(self.i.p)
        header = CompletionHeader(beat.hdr)
        word0 = header.word0
        starts = valid & beat.sop

        m.submodules.progress = progress = memory.Memory(shape=Progress, depth=TAGS, init=[])
        before = progress.read_port(domain="comb")
        after = progress.write_port()

        tag = header.tag[:TAG_BITS]
        current_tag = Signal(TAG_BITS)
        outstanding = self.outstanding.bit_select(self.tag, 1)
        expected = Signal()
        stands = Signal(Progress)
        m.d.comb += [
            self.tag.eq(Mux(beat.sop, tag, current_tag)),
            before.addr.eq(self.tag),
            expected.eq(
                (header.tag < TAGS)
                & ~word0.t8
                & ~word0.t9
                & outstanding
                & (header.requester_id == self.requester_id)
                & (word0.type == TlpType.COMPLETION)
                & ~word0.is_prefix
            ),
        ]
        with m.If(self.fresh.bit_select(self.tag, 1)):
            m.d.comb += [stands.offset.eq(self.chunk.offset), stands.count.eq(self.chunk.bytes)]
        with m.Else():
            m.d.comb += stands.eq(before.data)

        length = Signal(11)
        lead = stands.offset[:2]
        wanted = Signal(range(REQUEST_BYTES // 4 + 1))
        good = Signal()
        bad_data = Signal()
        complete = Signal()
        m.d.comb += [
            length.eq(Cat(word0.length, word0.length == 0)),
            wanted.eq((stands.count + lead + 3) >> 2),
            good.eq(
                (header.status == CompletionStatus.SUCCESS)
                & word0.has_payload
                & ((beat.error == 0) | (beat.error == POISONED))
                & (header.byte_count == stands.count)
                & (header.lower_address == stands.offset[:7])
                & (length <= wanted)
            ),
            bad_data.eq(word0.ep | (beat.error == POISONED)),
            complete.eq(~good | (length == wanted)),
            after.addr.eq(tag),
            after.data.offset.eq(Cat(Const(0, 2), stands.offset[2:]) + (length << 2)),
            after.data.count.eq(stands.count + lead - (length << 2)),
            after.en.eq(starts & expected),
        ]

        # A read that is given up while its answer comes is outstanding no more, and what is still
        # to come of the answer must not land in what follows under the tag.
        taking = Signal()
        writing = Signal()
        fails = Signal()
        completes = Signal()
        left = Signal(range(REQUEST_BYTES // 4 + 1))
        place = Signal(range(REQUEST_BYTES // 4))
        now_taking = Signal()
        now_writing = Signal()
        now_fails = Signal()
        now_completes = Signal()
        now_left = Signal.like(left)
        now_place = Signal.like(place)
        with m.If(beat.sop):
            m.d.comb += [
                now_taking.eq(expected),
                now_writing.eq(expected & good),
                now_fails.eq(~good | bad_data),
                now_completes.eq(complete),
                now_left.eq(length),
                now_place.eq(stands.offset[2:]),
            ]
        with m.Else():
            m.d.comb += [
                now_taking.eq(taking & outstanding),
                now_writing.eq(taking & outstanding & writing),
                now_fails.eq(fails),
                now_completes.eq(completes),
                now_left.eq(left),
                now_place.eq(place),
            ]
        with m.If(valid):
            m.d.sync += [
                taking.eq(now_taking & ~beat.eop),
                writing.eq(now_writing),
                fails.eq(now_fails),
                completes.eq(now_completes),
                # What comes beyond the length is nobody's.
                left.eq(Mux(now_left > lanes, now_left - lanes, 0)),
                place.eq(now_place + lanes),
                current_tag.eq(self.tag),
            ]
        with m.Elif(~outstanding):
            m.d.sync += taking.eq(0)

        present = Signal(lanes)
        offset = now_place[:lane_bits]
        word = now_place[lane_bits:]
        # Less data than the header says, or no end where it should be.
        short = (payload_lanes(now_left, lanes) & ~beat.strb).any() | (now_left > lanes)
        m.d.comb += [
            present.eq(payload_lanes(now_left, lanes) & beat.strb),
            self.write_data.eq(rotate_left_lanes(beat.data, offset, 32, lanes)),
            self.began.eq(starts & expected),
            self.failed.eq(valid & beat.eop & now_taking & (now_fails | (now_writing & short))),
            self.ended.eq(valid & beat.eop & now_taking & (now_completes | (now_writing & short))),
            self.unexpected.eq(starts & ~expected),
            self.unsupported.eq(
                starts & expected & (header.status == CompletionStatus.UNSUPPORTED_REQUEST)
            ),
            self.aborted.eq(starts & expected & (header.status == CompletionStatus.ABORT)),
            self.poisoned.eq(starts & expected & good & bad_data),
        ]
        with m.If(valid & now_writing):
            m.d.comb += self.write_enable.eq(rotate_left_lanes(present, offset, 1, lanes))
        for lane in range(lanes):
            # What does not fit above the first dword's lane goes to the word after.
            wraps = offset > lane if lane < lanes - 1 else Const(0)
            m.d.comb += self.write_address[lane].eq(
                Cat((word + wraps)[: self._address_bits - TAG_BITS], self.tag)
            )
        return m
