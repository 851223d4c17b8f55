# SPDX-License-Identifier: BSD-2-Clause
"""Interfaces of Intel's hard blocks: ready latency, segments, credits, error reports."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

from amaranth.hdl import Cat, Mux, Value
from amaranth.lib import data

from hdl.fifo import DISTRIBUTED_DEPTH
from hdl.shims.avalon import PacketSender, ReceiveBuffer
from hdl.shims.intel_credits import LIMIT_BITS, CreditLimit, NetCredits
from hdl.shims.intel_errors import CAUSES, HEADER_CYCLES, ErrorReporter
from hdl.shims.segments import Unsegmenter

from ..harness import Harness, Part
from ..proof import Mutant, Proof

__all__ = ["PROOFS"]

READY = "683059, Avalon-ST TX Interface; 683111, Avalon-ST 512-Bit TX Interface"
CREDITS = "PCI Express Base 4.0 section 2.6.1"
ALLOWANCE = 5
LATENCY = 3
SHALLOW, DEEP = 4, 2 * DISTRIBUTED_DEPTH
COUNTING = 4
INFO_BITS = 13


def late_words_are_stored(h: Harness) -> None:
    """A block that may send if ready was high in one of the last :data:`ALLOWANCE` cycles."""
    buffer = ReceiveBuffer(8, allowance=ALLOWANCE)
    part = h.add("buffer", buffer)
    ready_q = h.signal(ALLOWANCE, "ready_q")
    h.m.d.sync += ready_q.eq(Cat(buffer.ready, ready_q))
    h.assume(~buffer.valid | ready_q.any())
    level, depth = part.inside("fifo", "level"), buffer._depth
    h.ensure(~buffer.valid | (level < depth))
    h.ensure_held(buffer.o, "words")
    # Since the memory was last less than half full, it gained one word per cycle at most.
    half_empty = level < depth // 2
    full_for = h.count("full_for", (ALLOWANCE + 2).bit_length(), while_=~half_empty)
    h.ensure(level <= depth // 2 + full_for)
    h.ensure(~buffer.ready | (full_for == 0))
    for cycle in range(ALLOWANCE):
        h.ensure(~ready_q[cycle] | (full_for <= cycle + 1))
    h.ensure((full_for <= ALLOWANCE + 1) | ~buffer.valid)
    h.ensure(level <= depth // 2 + ALLOWANCE + 1)
    h.cover(buffer.valid & (level == depth // 2 + ALLOWANCE))


def packets_do_not_pause(depth: int) -> Callable[[Harness], None]:
    def fill(h: Harness) -> None:
        sender = PacketSender(
            data.StructLayout({"number": 2, "last": 1}), depth=depth, latency=LATENCY
        )
        part = h.add("sender", sender)
        h.assume_held(sender.i, "words")
        # A packet is no longer than the memory.
        enters = sender.i.valid & sender.i.ready
        length = h.signal(range(depth + 1), "length")
        h.m.d.sync += length.eq(Mux(enters, Mux(sender.i.p.last, 0, length + 1), length))
        h.assume(~sender.i.valid | sender.i.p.last | (length < depth - 1))

        ready_q = h.signal(LATENCY, "ready_q")
        h.m.d.sync += ready_q.eq(Cat(sender.ready, ready_q))
        begun = h.signal(1, "begun")
        with h.m.If(sender.valid):
            h.m.d.sync += begun.eq(~sender.p.last)
        h.ensure(~sender.valid | ready_q[-1])
        h.ensure(sender.valid | ~(begun & ready_q[-1]))
        h.cover(begun & sender.valid & sender.p.last)
        if depth <= DISTRIBUTED_DEPTH:
            _relate(h, part, sender, depth, length, ready_q, begun)

    return fill


def _relate(
    h: Harness,
    part: Part,
    sender: PacketSender,
    depth: int,
    length: Value,
    ready_q: Value,
    begun: Value,
) -> None:
    """Invariants between the registers of a sender with a small memory."""
    level, head = part.inside("fifo", "level"), part.inside("fifo", "head")
    tail = part.inside("fifo", "tail")
    whole_packets, packet_stored_q, in_packet = (
        part.inside(name) for name in ("whole_packets", "packet_stored_q", "in_packet")
    )
    first = sender._fifo.o
    ends: list[Value] = []
    unfinished: Value = length == 0
    for place in range(depth):
        word = part.row(h, (head + place)[: len(head)], "fifo", "words")
        ends.append((level > place) & word[-1])
        # The words after the last end are those of the packet in progress.
        unfinished |= (level == place + 1) & ~word[-1]
    count = Value.cast(first.valid & first.p.last)
    for end in ends:
        count = count + end
    h.ensure((tail - head - level)[: len(head)] == 0)
    h.ensure(level <= depth)
    h.ensure(count == whole_packets + packet_stored_q)
    h.ensure(unfinished | ((level == 0) & ~(first.valid & first.p.last)))
    h.ensure(~in_packet | (first.valid & (whole_packets != 0)))
    h.ensure(ready_q[: LATENCY - 1] == part.inside("ready_q"))
    h.ensure(Mux(sender.valid, ~sender.p.last, begun) == in_packet)


def segments_leave_once(h: Harness) -> None:
    """Track one arbitrary segment among others."""
    unsegmenter = Unsegmenter(128, 2, 2)
    part = h.add("unsegmenter", unsegmenter)
    h.assume_held(unsegmenter.i, "beats")
    beat = unsegmenter.o.p
    pair = (beat.lanes == 0) | (beat.lanes > 2)
    # Lanes past the end are undefined.
    defined = Cat(beat.data[:64], Mux(pair, beat.data[64:], 0), beat.lanes, beat.last)
    payload = Cat(defined, unsegmenter.first, unsegmenter.side)
    h.ensure_held(
        SimpleNamespace(valid=unsegmenter.o.valid, ready=unsegmenter.o.ready, p=payload), "packets"
    )
    low, high = unsegmenter.i.p.segments
    h.assume(~unsegmenter.i.valid | low.valid | high.valid)
    for segment in (low, high):
        h.assume(~segment.valid | ((segment.lanes > 0) & (segment.lanes <= 2)))
    taken = unsegmenter.i.valid & unsegmenter.i.ready
    leaves = unsegmenter.o.valid & unsegmenter.o.ready
    held = part.inside("held")

    waiting = h.signal(2, "waiting")
    entering = Mux(taken, low.valid + high.valid, 0)
    leaving = Mux(leaves, 1 + pair, 0)
    h.m.d.sync += waiting.eq(waiting + entering - leaving)
    h.ensure(waiting == held)
    shape = unsegmenter._layout["segments"].shape.elem_shape
    kept = data.View(shape, part.inside("kept"))
    h.ensure(~held | ((kept.lanes > 0) & (kept.lanes <= 2)))

    # It enters behind `ahead` others, and may leave in the same cycle.
    upper = h.free(1, "upper")
    chosen = h.free(1, "chosen")
    inside = h.signal(1, "inside")
    enters = taken & chosen & ~inside & Mux(upper, high.valid, low.valid)
    segment = Mux(upper, high.as_value(), low.as_value())
    tracked_q = h.latched(segment, enters, "tracked_q")
    tracked = data.View(shape, Mux(inside, tracked_q, segment))
    ahead = Mux(inside, 0, waiting + (upper & low.valid))
    is_inside = inside | enters
    leads = is_inside & leaves & (ahead == 0)
    follows = is_inside & leaves & (ahead == 1) & pair
    h.m.d.sync += inside.eq(is_inside & ~leads & ~follows)
    h.ensure(~leads | (beat.data[:64] == tracked.data))
    h.ensure(~follows | (beat.data[64:] == tracked.data))
    # The end of a packet is marked, and no segment follows it in its beat.
    h.ensure(~(leads & ~pair) | (beat.last & tracked.last & (beat.lanes == tracked.lanes)))
    h.ensure(~follows | (beat.last == tracked.last))
    h.ensure(~(follows & tracked.last) | (beat.lanes == (tracked.lanes + 2)[:2]))
    h.ensure(~(leads & pair) | ~tracked.last)
    h.ensure(~inside | (held & (kept.as_value() == tracked_q)))
    h.ensure(~leads | ~unsegmenter.first | (unsegmenter.side == tracked.side))
    h.cover(leads & inside & beat.last)
    h.cover(follows & ~beat.last)


def reads_stay_within_credit_limit(h: Harness) -> None:
    """A host that grants at least one credit first, and never revokes one."""
    credits = CreditLimit()
    part = h.add("credits", credits)
    granted, used, limited = (part.inside(name) for name in ("granted", "used", "limited"))
    h.assume(~credits.consumed | credits.may_send)
    h.assume(limited | ~credits.consumed)
    h.assume(limited | ~credits.limit_valid | (credits.limit != 0))
    remaining = h.signal(LIMIT_BITS + 1, "remaining")
    added = Mux(credits.limit_valid, (credits.limit - granted)[:LIMIT_BITS], 0)
    # Modulo 4,096, an increase by more than half would look like a decrease.
    h.assume(remaining + added <= 1 << LIMIT_BITS - 1)
    h.m.d.sync += remaining.eq(remaining + added - credits.consumed)
    h.ensure(remaining == (granted - used)[:LIMIT_BITS])
    h.ensure(~limited | (credits.may_send == (remaining != 0)))
    h.ensure(~credits.consumed | (remaining != 0))
    h.cover(credits.consumed & (remaining == 1))


def reads_have_net_credits(h: Harness) -> None:
    """A block that counts a read at any time until :data:`COUNTING` cycles after its arrival."""
    credits = NetCredits(counting_cycles=COUNTING)
    part = h.add("credits", credits)
    h.assume(~credits.consumed | credits.may_send)
    counted = h.free(1, "counted")
    before_block = h.signal(9, "before_block")
    in_block = h.signal(4, "in_block")
    uncounted = part.inside("uncounted")
    h.m.d.sync += [
        before_block.eq(before_block + credits.consumed - credits.departed),
        in_block.eq(in_block + credits.departed - counted),
    ]
    h.assume(~credits.departed | (before_block != 0))
    h.assume(~counted | (in_block != 0))
    pending = sum((bit for bit in uncounted), start=Value.cast(0))
    h.assume(in_block <= pending)
    least_net = h.register(credits.net - counted, "least_net")
    started = h.register(1, "started", shape=1)
    h.assume(~started | (credits.net >= least_net.as_signed()))
    h.assume(~counted | (credits.net != 0))
    h.ensure(part.inside("in_flight") == before_block + pending)
    h.ensure(before_block + in_block <= Mux(started, credits.net, 255))
    h.cover(credits.consumed & (before_block + in_block + 1 == credits.net))


def errors_are_reported(h: Harness) -> None:
    reporter = ErrorReporter(INFO_BITS)
    part = h.add("reporter", reporter)
    quiet = h.count("quiet", HEADER_CYCLES.bit_length(), while_=~reporter.app_err_valid)
    reported = h.latch("reported", rises=reporter.app_err_valid, falls=0)
    h.ensure(~(reporter.app_err_valid & reported) | (quiet >= HEADER_CYCLES - 1))
    busy = part.inside("busy")
    h.ensure(~reported | reporter.app_err_valid | (quiet + busy >= HEADER_CYCLES - 2))
    h.ensure(~reporter.app_err_valid | (busy == HEADER_CYCLES - 1))
    h.ensure(reported | reporter.app_err_valid | (busy == 0))
    for name, info in CAUSES.items():
        error_q = h.register(getattr(reporter, name), f"{name}_q")
        pending_q = h.signal(1, f"{name}_pending_q")
        shown = reporter.app_err_valid & (reporter.app_err_info == info)
        pending = error_q | (pending_q & ~shown)
        h.m.d.sync += pending_q.eq(pending)
        h.ensure(part.inside(f"pending_{name}") == pending)
        h.ensure(pending_q | ~shown)
        h.cover(shown & pending)
    causes = [reporter.app_err_info == info for info in CAUSES.values()]
    h.ensure(~reporter.app_err_valid | Cat(*causes).any())


PROOFS = (
    Proof(
        property="late-words-are-stored",
        statement=f"for a block that sends words for up to {ALLOWANCE} cycles after ready fell: "
        "each word is stored, and the output holds until accepted",
        source="683059, Avalon-ST RX Interface; 683111, Avalon-ST 512-Bit RX Interface",
        module="hdl.shims.avalon",
        harness=late_words_are_stored,
        cover_depth=40,
        mutant=Mutant(
            module="hdl.shims.avalon",
            before="self.ready.eq(fifo.half_empty)",
            after="self.ready.eq(fifo.i.ready)",
            depth=30,
        ),
    ),
    Proof(
        property="packets-do-not-pause-shallow",
        statement="for packets no longer than the memory: a word leaves only in a cycle for "
        "which the block is ready, and in each of these until the end of a packet in progress; "
        f"{SHALLOW} words, {LATENCY} cycles of latency",
        source=READY,
        module="hdl.shims.avalon",
        harness=packets_do_not_pause(SHALLOW),
        mutant=Mutant(
            module="hdl.shims.avalon",
            before="may_begin.eq(in_packet | (whole_packets != 0))",
            after="may_begin.eq(in_packet | fifo.o.valid)",
        ),
    ),
    Proof(
        property="packets-do-not-pause-deep",
        statement=f"the same for {DEEP} words, in a memory with a registered read port",
        source=READY,
        module="hdl.shims.avalon",
        harness=packets_do_not_pause(DEEP),
        method="bmc",
        depth=15,
        cover_depth=15,
        mutant=Mutant(
            module="hdl.shims.avalon",
            before="may_begin.eq(in_packet | (whole_packets != 0))",
            after="may_begin.eq(in_packet | (whole_packets != 0) | packet_stored_q)",
            depth=12,
        ),
    ),
    Proof(
        property="segments-leave-once",
        statement="for packets that begin in either of two segments: each segment leaves once, in "
        "order, with its packet's end and sideband, and holds until accepted; 128 bits",
        source="683059, Avalon-ST RX Interface; 683111, Avalon-ST 512-Bit RX Interface",
        module="hdl.shims.segments",
        harness=segments_leave_once,
        mutant=Mutant(
            module="hdl.shims.segments",
            before="m.d.sync += [held.eq(both), kept.eq(high)]",
            after="m.d.sync += [held.eq(high.valid), kept.eq(high)]",
        ),
    ),
    Proof(
        property="reads-stay-within-credit-limit",
        statement="for a host that grants credits at any time and never revokes one: no more "
        "reads leave than it granted, and a read may leave while there is a credit",
        source=CREDITS,
        module="hdl.shims.intel_credits",
        harness=reads_stay_within_credit_limit,
        mutant=Mutant(
            module="hdl.shims.intel_credits",
            before="used.eq(used + self.consumed)",
            after="used.eq(used + (self.consumed & ~self.limit_valid))",
        ),
    ),
    Proof(
        property="reads-have-net-credits",
        statement="for a block that outputs the remaining credits, and counts a read within "
        f"{COUNTING} cycles after its arrival: no more reads leave than there are credits",
        source=CREDITS,
        module="hdl.shims.intel_credits",
        harness=reads_have_net_credits,
        mutant=Mutant(
            module="hdl.shims.intel_credits",
            before="in_flight + self.consumed - uncounted[-1]",
            after="in_flight + self.consumed - self.departed",
        ),
    ),
    Proof(
        property="errors-are-reported",
        statement="for errors at any time: each error is reported, those of a pending cause in "
        "one report; reports are spaced by the length of a header",
        source="683059, Error Interface; 683111, Transaction Layer Configuration Space Interface",
        module="hdl.shims.intel_errors",
        harness=errors_are_reported,
        mutant=Mutant(
            module="hdl.shims.intel_errors",
            before="pending.eq(getattr(self, name))",
            after="pending.eq(0)",
        ),
    ),
)
