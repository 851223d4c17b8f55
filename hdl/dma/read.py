# SPDX-License-Identifier: BSD-2-Clause
"""Read half of the DMA window: AXI read bursts to memory reads, completions to AXI.

PCI Express Base 4.0 sections 2.2.6.2 (tags), 2.8 (completion timeout). Tags are allocated in
circular order: a late completion of a read that timed out then meets a new read with its tag as
late as possible.
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from ..geometry import Geometry
from ..tlp import completion_signature, header_signature
from .axi import address_channel, read_data_channel
from .completion_room import CompletionRoom
from .completions import CompletionReceiver
from .limits import TAGS, check_completion_timeout
from .read_issue import TAG_BITS, ReadContext, ReadIssuer
from .read_return import ReadReturn

__all__ = ["ReadRequester"]


class ReadRequester(wiring.Component):
    """Issues memory reads, up to :data:`~hdl.dma.limits.TAGS` outstanding, and returns their data.

    Each tag has buffer space for all of its data, so completions never stall.

    Parameters
    ----------
    geometry : Geometry
        Widths and addresses.
    completion_timeout : int
        Cycles from the departure of a read until it fails, 64 or more. Only the oldest read is
        timed: a read behind others may fail later.

    Attributes
    ----------
    ar : In(address_channel())
        AR channel.
    r : Out(read_data_channel(data_width))
        R channel.
    o : Out(header_signature())
        Memory reads.
    completions : In(completion_signature(data_width))
        Completions; ``ready`` is always high.
    reset : In(1)
        The function is being reset: every read fails, and its completions become unexpected.
    bus_master_enable : In(1)
        Bus Master Enable of the Command register.
    requester_id : In(16)
        Requester ID of the function.
    max_read_request_size : In(3)
        Encoding of Device Control.
    timeout_disable : In(1)
        Completion Timeout Disable of Device Control 2: reads do not time out.
    failed : Out(1)
        One-cycle pulse: a failed read is answered with SLVERR.
    timed_out : Out(1)
        One-cycle pulse: a read timed out.
    unexpected, unsupported, aborted, poisoned : Out(1)
        As in :class:`~hdl.dma.completions.CompletionReceiver`.
    outstanding : Out(1)
        A read has departed that is neither fully answered nor timed out.
    former : Out(1)
        As in :class:`~hdl.dma.read_issue.ReadIssuer`.
    """

    def __init__(self, geometry: Geometry, *, completion_timeout: int):
        self._geometry = geometry
        self._timeout = check_completion_timeout(completion_timeout)
        super().__init__(
            {
                "ar": In(address_channel()),
                "r": Out(read_data_channel(geometry.data_width)),
                "o": Out(header_signature()),
                "completions": In(completion_signature(geometry.data_width)),
                "reset": In(1),
                "bus_master_enable": In(1),
                "requester_id": In(16),
                "max_read_request_size": In(3),
                "timeout_disable": In(1),
                "failed": Out(1),
                "timed_out": Out(1),
                "unexpected": Out(1),
                "unsupported": Out(1),
                "aborted": Out(1),
                "poisoned": Out(1),
                "outstanding": Out(1),
                "former": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self._geometry
        m.submodules.issuer = issuer = ReadIssuer(g)
        m.submodules.receiver = receiver = CompletionReceiver(g)
        m.submodules.returner = returner = ReadReturn(g)
        wiring.connect(m, wiring.flipped(self.ar), issuer.ar)
        wiring.connect(m, issuer.o, wiring.flipped(self.o))
        wiring.connect(m, wiring.flipped(self.completions), receiver.i)
        wiring.connect(m, returner.r, wiring.flipped(self.r))

        # Registered: the fan-out is high, the route from the source long, and a cycle later is
        # early enough.
        reset = Signal()
        m.d.sync += reset.eq(self.reset)

        # Ring pointers have one bit more than a tag, to tell a full ring from an empty one.
        newest = Signal(TAG_BITS + 1)
        newest_q = Signal(TAG_BITS + 1)
        oldest = Signal(TAG_BITS + 1)
        used = Signal(range(TAGS + 1))
        new_tag, old_tag = newest[:TAG_BITS], oldest[:TAG_BITS]
        unanswered = Signal(TAGS)
        done = Signal(TAGS)
        failed = Signal(TAGS)
        may_return = Signal()
        has_space = Signal()
        has_failed = Signal()
        times_out = Signal()
        take_q = Signal()
        take_tag_q = Signal(TAG_BITS)

        m.submodules.contexts = contexts = memory.Memory(shape=ReadContext, depth=TAGS, init=[])
        store, look_up = contexts.write_port(), contexts.read_port(domain="comb")
        m.d.comb += [
            issuer.reset.eq(self.reset),
            issuer.bus_master_enable.eq(self.bus_master_enable),
            issuer.requester_id.eq(self.requester_id),
            issuer.max_read_request_size.eq(self.max_read_request_size),
            issuer.tag_free.eq(~used[-1] & ~receiver.busy & has_space),
            issuer.tag.eq(new_tag),
            store.addr.eq(new_tag),
            store.data.eq(issuer.context),
            store.en.eq(issuer.allocate),
            receiver.requester_id.eq(self.requester_id),
            receiver.outstanding.eq(unanswered),
            receiver.expect.eq(issuer.allocate),
            receiver.expected_tag.eq(new_tag),
            receiver.awaited.eq(issuer.expected),
            look_up.addr.eq(old_tag),
            returner.reset.eq(reset),
            returner.tag.eq(old_tag),
            returner.context.eq(look_up.data),
            returner.ready.eq(may_return | times_out),
            returner.failed.eq(has_failed | times_out),
            self.failed.eq(returner.retire_failed),
            self.former.eq(issuer.former),
            self.unexpected.eq(receiver.unexpected),
            self.unsupported.eq(receiver.unsupported),
            self.aborted.eq(receiver.aborted),
            self.poisoned.eq(receiver.poisoned),
        ]
        if g.block.completion_headers is None:
            m.d.comb += has_space.eq(1)
        else:
            m.submodules.room = room = CompletionRoom(g.block.completion_headers)
            m.d.comb += [
                room.allocate.eq(issuer.allocate),
                room.tag.eq(new_tag),
                room.first_offset.eq(issuer.expected.offset),
                room.last_offset.eq(issuer.last_offset),
                room.take.eq(returner.take),
                room.taken_tag.eq(old_tag),
                has_space.eq(room.has_space),
            ]
        # The lookup is registered: `returner` does not take tags in consecutive cycles, so `oldest`
        # is stable when the result is used.
        m.d.sync += [
            may_return.eq((newest_q != oldest) & done.bit_select(old_tag, 1)),
            has_failed.eq(failed.bit_select(old_tag, 1) | reset),
            self.outstanding.eq(unanswered.any()),
        ]
        self._connect_buffer(m, receiver, returner)
        overdue = self._watch_timeout(m, issuer, unanswered, old_tag)

        # `overdue` lags by two cycles: ignore it for two cycles after an event that may
        # change the oldest read or its state.
        changes_q = Signal(2)
        m.d.sync += changes_q.eq(Cat(receiver.ended | returner.take | reset, changes_q))
        m.d.comb += [
            times_out.eq(overdue & ~changes_q.any() & ~self.timeout_disable),
            self.timed_out.eq(times_out & returner.take),
        ]

        # The bits of a new tag are written one cycle after the allocation; `newest_q` follows, so that
        # they are not looked up before.
        allocate_q = Signal()
        failed_q = Signal()
        m.d.sync += [
            allocate_q.eq(issuer.allocate),
            failed_q.eq(issuer.failed),
            newest_q.eq(newest),
        ]
        with m.If(issuer.allocate):
            m.d.sync += newest.eq(newest + 1)
        with m.If(allocate_q):
            m.d.sync += [
                done.bit_select(newest_q[:TAG_BITS], 1).eq(failed_q),
                failed.bit_select(newest_q[:TAG_BITS], 1).eq(failed_q),
            ]
        with m.If(issuer.sent):
            m.d.sync += unanswered.bit_select(issuer.sent_tag, 1).eq(1)
        with m.If(receiver.failed):
            m.d.sync += failed.bit_select(receiver.tag, 1).eq(1)
        with m.If(receiver.ended):
            m.d.sync += [
                unanswered.bit_select(receiver.tag, 1).eq(0),
                done.bit_select(receiver.tag, 1).eq(1),
            ]
        with m.If(returner.take):
            m.d.sync += oldest.eq(oldest + 1)
        m.d.sync += [take_q.eq(returner.take), take_tag_q.eq(old_tag)]
        with m.If(take_q):
            # Already 0 unless the read timed out.
            m.d.sync += unanswered.bit_select(take_tag_q, 1).eq(0)
        with m.If(issuer.allocate ^ returner.retire):
            m.d.sync += used.eq(used + Mux(returner.retire, -1, 1))
        with m.If(reset):
            m.d.sync += [unanswered.eq(0), done.eq(-1), failed.eq(-1)]
        return m

    def _connect_buffer(self, m, receiver, returner):
        """Connect the buffer: one memory per lane, since an unaligned beat spans two words."""
        for lane in range(self._geometry.lanes):
            depth = 1 << len(returner.read_address)
            # A write and a read never collide: data is written for a tag that is not done and read
            # for a tag that is. A read that timed out may be both, but returns zeros.
            bank = memory.Memory(shape=32, depth=depth, init=[], attrs={"no_rw_check": 1})
            m.submodules[f"buffer_{lane}"] = bank
            write, read = bank.write_port(), bank.read_port()
            bits = slice(32 * lane, 32 * lane + 32)
            m.d.comb += [
                write.en.eq(receiver.write_enable[lane]),
                write.addr.eq(receiver.write_address[lane]),
                write.data.eq(receiver.write_data[bits]),
                read.en.eq(returner.read_enable),
                read.addr.eq(returner.read_address),
                returner.read_data[bits].eq(read.data),
            ]

    def _watch_timeout(self, m, issuer, unanswered, oldest):
        """Return whether the read with tag ``oldest`` has been outstanding for too long.

        The result lags by two cycles.
        """
        # Watching the oldest read suffices, as the others wait behind it. The time is counted in
        # ticks of about two per cent of the timeout; the tick in progress may or may not count.
        ticks = max(self._timeout.bit_length() - 7, 0)
        limit = -(-self._timeout >> ticks) + 1
        now = Signal(ticks + 8)
        m.d.sync += now.eq(now + 1)
        m.submodules.sent_at = sent_at = memory.Memory(shape=8, depth=TAGS, init=[])
        store, look_up = sent_at.write_port(), sent_at.read_port(domain="comb")
        m.d.comb += [
            store.addr.eq(issuer.sent_tag),
            store.data.eq(now[ticks:]),
            store.en.eq(issuer.sent),
            look_up.addr.eq(oldest),
        ]
        elapsed = Signal(8)
        outstanding_q = Signal()
        overdue = Signal()
        m.d.sync += [
            elapsed.eq(now[ticks:] - look_up.data),
            outstanding_q.eq(unanswered.bit_select(oldest, 1)),
            overdue.eq(outstanding_q & (elapsed >= limit)),
        ]
        return overdue
