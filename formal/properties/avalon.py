# SPDX-License-Identifier: BSD-2-Clause
"""What joins Intel's hard blocks: ready that speaks of another cycle, segments, credits."""

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


def what_comes_late_is_taken(h: Harness) -> None:
    """A block that sends whenever ready was up in one of so many cycles before."""
    buffer = ReceiveBuffer(8, allowance=ALLOWANCE)
    part = h.add("buffer", buffer)
    heard = h.signal(ALLOWANCE, "heard")
    h.m.d.sync += heard.eq(Cat(buffer.ready, heard))
    h.assume(~buffer.valid | heard.any())
    level, depth = part.inside("fifo", "level"), buffer._depth
    h.ensure(~buffer.valid | (level < depth))
    h.ensure_held(buffer.o, "words")
    # Since it was less than half full, it has become fuller by a word a cycle at most.
    half_empty = level < depth // 2
    full_for = h.count("full_for", (ALLOWANCE + 2).bit_length(), while_=~half_empty)
    h.ensure(level <= depth // 2 + full_for)
    h.ensure(~buffer.ready | (full_for == 0))
    for cycle in range(ALLOWANCE):
        h.ensure(~heard[cycle] | (full_for <= cycle + 1))
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
        # No packet is longer than the memory.
        enters = sender.i.valid & sender.i.ready
        length = h.signal(range(depth + 1), "length")
        h.m.d.sync += length.eq(Mux(enters, Mux(sender.i.p.last, 0, length + 1), length))
        h.assume(~sender.i.valid | sender.i.p.last | (length < depth - 1))

        told = h.signal(LATENCY, "told")
        h.m.d.sync += told.eq(Cat(sender.ready, told))
        begun = h.signal(1, "begun")
        with h.m.If(sender.valid):
            h.m.d.sync += begun.eq(~sender.p.last)
        h.ensure(~sender.valid | told[-1])
        h.ensure(sender.valid | ~(begun & told[-1]))
        h.cover(begun & sender.valid & sender.p.last)
        if depth <= DISTRIBUTED_DEPTH:
            _relate(h, part, sender, depth, length, told, begun)

    return fill


def _relate(
    h: Harness,
    part: Part,
    sender: PacketSender,
    depth: int,
    length: Value,
    told: Value,
    begun: Value,
) -> None:
    """How the registers of a sender of few words stand to each other."""
    level, head = part.inside("fifo", "level"), part.inside("fifo", "head")
    tail = part.inside("fifo", "tail")
    whole, stored, inside = (part.inside(name) for name in ("whole", "stored", "inside"))
    first = sender._fifo.o
    ends: list[Value] = []
    unfinished: Value = length == 0
    for place in range(depth):
        word = part.row(h, (head + place)[: len(head)], "fifo", "words")
        ends.append((level > place) & word[-1])
        # The words since the last end are those of a packet of which that many came.
        unfinished |= (level == place + 1) & ~word[-1]
    count = Value.cast(first.valid & first.p.last)
    for end in ends:
        count = count + end
    h.ensure((tail - head - level)[: len(head)] == 0)
    h.ensure(level <= depth)
    h.ensure(count == whole + stored)
    h.ensure(unfinished | ((level == 0) & ~(first.valid & first.p.last)))
    h.ensure(~inside | (first.valid & (whole != 0)))
    h.ensure(told[: LATENCY - 1] == part.inside("history"))
    h.ensure(Mux(sender.valid, ~sender.p.last, begun) == inside)


def segments_leave_once(h: Harness) -> None:
    """Of one segment, whichever the solver likes, among others."""
    straight = Unsegmenter(128, 2, 2)
    part = h.add("straight", straight)
    h.assume_held(straight.i, "beats")
    beat = straight.o.p
    pair = (beat.lanes == 0) | (beat.lanes > 2)
    # Lanes past the end do not matter.
    matters = Cat(beat.data[:64], Mux(pair, beat.data[64:], 0), beat.lanes, beat.last)
    offer = Cat(matters, straight.first, straight.side)
    h.ensure_held(
        SimpleNamespace(valid=straight.o.valid, ready=straight.o.ready, p=offer), "packets"
    )
    low, high = straight.i.p.segments
    h.assume(~straight.i.valid | low.valid | high.valid)
    for segment in (low, high):
        h.assume(~segment.valid | ((segment.lanes > 0) & (segment.lanes <= 2)))
    taken = straight.i.valid & straight.i.ready
    leaves = straight.o.valid & straight.o.ready
    held = part.inside("held")

    waiting = h.signal(2, "waiting")
    come = Mux(taken, low.valid + high.valid, 0)
    gone = Mux(leaves, 1 + pair, 0)
    h.m.d.sync += waiting.eq(waiting + come - gone)
    h.ensure(waiting == held)
    shape = straight._layout["segments"].shape.elem_shape
    kept = data.View(shape, part.inside("kept"))
    h.ensure(~held | ((kept.lanes > 0) & (kept.lanes <= 2)))

    # It enters behind so many others, and may leave at once.
    its_place = h.free(1, "its_place")
    chosen = h.free(1, "chosen")
    inside = h.signal(1, "inside")
    enters = taken & chosen & ~inside & Mux(its_place, high.valid, low.valid)
    segment = Mux(its_place, high.as_value(), low.as_value())
    its_own = h.kept(segment, enters, "its_own")
    now = data.View(shape, Mux(inside, its_own, segment))
    ahead = Mux(inside, 0, waiting + (its_place & low.valid))
    is_inside = inside | enters
    leads = is_inside & leaves & (ahead == 0)
    follows = is_inside & leaves & (ahead == 1) & pair
    h.m.d.sync += inside.eq(is_inside & ~leads & ~follows)
    h.ensure(~leads | (beat.data[:64] == now.data))
    h.ensure(~follows | (beat.data[64:] == now.data))
    # An end is one, and nothing comes behind it in its beat.
    h.ensure(~(leads & ~pair) | (beat.last & now.last & (beat.lanes == now.lanes)))
    h.ensure(~follows | (beat.last == now.last))
    h.ensure(~(follows & now.last) | (beat.lanes == (now.lanes + 2)[:2]))
    h.ensure(~(leads & pair) | ~now.last)
    h.ensure(~inside | (held & (kept.as_value() == its_own)))
    h.ensure(~leads | ~straight.first | (straight.side == now.side))
    h.cover(leads & inside & beat.last)
    h.cover(follows & ~beat.last)


def reads_keep_to_the_limit(h: Harness) -> None:
    """A host that begins with a credit, and never takes one back."""
    credits = CreditLimit()
    part = h.add("credits", credits)
    given, used, limited = (part.inside(name) for name in ("given", "used", "limited"))
    h.assume(~credits.taken | credits.may_leave)
    h.assume(limited | ~credits.taken)
    h.assume(limited | ~credits.limit_valid | (credits.limit != 0))
    left = h.signal(LIMIT_BITS + 1, "left")
    more = Mux(credits.limit_valid, (credits.limit - given)[:LIMIT_BITS], 0)
    # Modulo 4,096, more credits than half of that would not differ from fewer.
    h.assume(left + more <= 1 << LIMIT_BITS - 1)
    h.m.d.sync += left.eq(left + more - credits.taken)
    h.ensure(left == (given - used)[:LIMIT_BITS])
    h.ensure(~limited | (credits.may_leave == (left != 0)))
    h.ensure(~credits.taken | (left != 0))
    h.cover(credits.taken & (left == 1))


def reads_have_net_credits(h: Harness) -> None:
    """A block that counts a read any time until so many cycles after it came."""
    credits = NetCredits(counting_cycles=COUNTING)
    part = h.add("credits", credits)
    h.assume(~credits.taken | credits.may_leave)
    counted = h.free(1, "counted")
    here = h.signal(9, "here")
    there = h.signal(4, "there")
    uncounted = part.inside("uncounted")
    h.m.d.sync += [
        here.eq(here + credits.taken - credits.departed),
        there.eq(there + credits.departed - counted),
    ]
    h.assume(~credits.departed | (here != 0))
    h.assume(~counted | (there != 0))
    pending = sum((bit for bit in uncounted), start=Value.cast(0))
    h.assume(there <= pending)
    before = h.register(credits.net - counted, "net_less_counted")
    began = h.register(1, "began", shape=1)
    h.assume(~began | (credits.net >= before.as_signed()))
    h.assume(~counted | (credits.net != 0))
    h.ensure(part.inside("under_way") == here + pending)
    h.ensure(here + there <= Mux(began, credits.net, 255))
    h.cover(credits.taken & (here + there + 1 == credits.net))


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
        came = h.register(getattr(reporter, name), f"{name}_came")
        owed = h.signal(1, f"{name}_owed")
        shown = reporter.app_err_valid & (reporter.app_err_info == info)
        still = came | (owed & ~shown)
        h.m.d.sync += owed.eq(still)
        h.ensure(part.inside(f"waiting_{name}") == still)
        h.ensure(owed | ~shown)
        h.cover(shown & still)
    causes = [reporter.app_err_info == info for info in CAUSES.values()]
    h.ensure(~reporter.app_err_valid | Cat(*causes).any())


PROOFS = (
    Proof(
        property="late-words-are-taken",
        statement="of a block that sends words for up to "
        f"{ALLOWANCE} cycles after ready fell, each is stored, and what is on offer holds",
        source="683059, Avalon-ST RX Interface; 683111, Avalon-ST 512-Bit RX Interface",
        module="hdl.shims.avalon",
        harness=what_comes_late_is_taken,
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
        statement="of packets no longer than the memory: a word leaves only in a cycle for which "
        "the block is ready, and in each such until the end of a packet that has begun; "
        f"{SHALLOW} words, {LATENCY} cycles of latency",
        source=READY,
        module="hdl.shims.avalon",
        harness=packets_do_not_pause(SHALLOW),
        mutant=Mutant(
            module="hdl.shims.avalon",
            before="may_begin.eq(inside | (whole != 0))",
            after="may_begin.eq(inside | fifo.o.valid)",
        ),
    ),
    Proof(
        property="packets-do-not-pause-deep",
        statement=f"the same of {DEEP} words, in a memory that is read with a clock",
        source=READY,
        module="hdl.shims.avalon",
        harness=packets_do_not_pause(DEEP),
        method="bmc",
        depth=15,
        cover_depth=15,
        mutant=Mutant(
            module="hdl.shims.avalon",
            before="may_begin.eq(inside | (whole != 0))",
            after="may_begin.eq(inside | (whole != 0) | stored)",
            depth=12,
        ),
    ),
    Proof(
        property="segments-leave-once",
        statement="of packets that begin in any of two segments, each segment leaves once, in "
        "order and with its packet's end and side, and holds until it is taken; 128 bits",
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
        property="reads-keep-to-the-limit",
        statement="of a host that gives credits at any times, none of which it takes back: no more "
        "reads leave than it gave, and one may while there is a credit",
        source=CREDITS,
        module="hdl.shims.intel_credits",
        harness=reads_keep_to_the_limit,
        mutant=Mutant(
            module="hdl.shims.intel_credits",
            before="used.eq(used + self.taken)",
            after="used.eq(used + (self.taken & ~self.limit_valid))",
        ),
    ),
    Proof(
        property="reads-have-net-credits",
        statement="of a block that tells what credits are left, and counts a read until "
        f"{COUNTING} cycles after it came: no more reads leave than there are credits",
        source=CREDITS,
        module="hdl.shims.intel_credits",
        harness=reads_have_net_credits,
        mutant=Mutant(
            module="hdl.shims.intel_credits",
            before="under_way + self.taken - uncounted[-1]",
            after="under_way + self.taken - self.departed",
        ),
    ),
    Proof(
        property="errors-are-reported",
        statement="of errors that come at any times, each is told after it came, several of a "
        "cause that waits at once; reports are as far apart as headers are long",
        source="683059, Error Interface; 683111, Transaction Layer Configuration Space Interface",
        module="hdl.shims.intel_errors",
        harness=errors_are_reported,
        mutant=Mutant(
            module="hdl.shims.intel_errors",
            before="waits.eq(getattr(self, name))",
            after="waits.eq(0)",
        ),
    ),
)
