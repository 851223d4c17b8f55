# SPDX-License-Identifier: BSD-2-Clause
"""What leaves for a hard block: one stream of writes, and when each of them has left."""

from __future__ import annotations

from amaranth.hdl import Mux, Value

from hdl.block_options import BlockOptions
from hdl.dma.completion_room import CompletionRoom
from hdl.dma.confirmations import CONFIRMATIONS, ConfirmationQueue, ConfirmationSerializer
from hdl.dma.limits import COMPLETION_BYTES, REQUEST_BYTES
from hdl.shims.sequence import DroppedWrites, SequenceNumbers
from hdl.shims.settling import ShimSettling
from hdl.write_merger import WriteMerger

from ..harness import Harness
from ..proof import Mutant, Proof

__all__ = ["PROOFS"]

SOURCE = "PCI Express Base 4.0 section 2.4.1; PG213, requester request interface"
DEPTH = 4
NUMBER_BITS = 3
DROPPING = 5
HEADERS = 13
SETTING_BITS = 3


def writes_stay_whole(h: Harness) -> None:
    merger = WriteMerger(64, BlockOptions(sequence_numbers=True))
    part = h.add("merger", merger)
    h.assume_held(merger.writes, "writes")
    h.assume_held(merger.interrupts, "interrupts")
    h.assume(~merger.interrupts.valid | merger.interrupts.p.eop)
    h.ensure_held(merger.o, "tlps")
    taken = merger.writes.valid & merger.writes.ready
    within = h.latch(
        "within", rises=taken & ~merger.writes.p.eop, falls=taken & merger.writes.p.eop
    )
    h.ensure(~within | ~merger.interrupts.ready)
    # What leaves is one of them, and whole.
    leaves = merger.o.valid & merger.o.ready
    interrupt = merger.interrupts.valid & merger.interrupts.ready
    h.ensure(leaves == (taken | interrupt))
    h.ensure(~(taken & interrupt))
    h.ensure(~taken | (merger.o.p == merger.writes.p))
    h.ensure(~interrupt | (merger.o.p.hdr == merger.interrupts.p.hdr))
    h.ensure(~within | (part.inside("locked") & ~part.inside("interrupt_q")))
    h.cover(interrupt)


def marks_come_back(h: Harness) -> None:
    """Of one TLP, whichever the solver likes, among others."""
    queue = ConfirmationQueue(DEPTH)
    part = h.add("queue", queue)
    h.assume(~queue.taken | queue.room)
    level = part.inside("level")
    leaves = queue.confirmed & (level != 0)
    count = h.signal(range(DEPTH + 1), "held")
    h.m.d.sync += count.eq(count + queue.taken - leaves)
    # How many leave until it is its turn, once it is inside.
    chosen = h.free(1, "chosen")
    inside = h.signal(1, "inside")
    before = h.signal(range(DEPTH + 1), "before")
    mark = h.signal(1, "its_mark")
    enters = queue.taken & chosen & ~inside
    its_turn = inside & leaves & (before == 0)
    with h.m.If(enters):
        h.m.d.sync += [inside.eq(1), mark.eq(queue.mark), before.eq(count - leaves)]
    with h.m.Elif(its_turn):
        h.m.d.sync += inside.eq(0)
    with h.m.Elif(leaves):
        h.m.d.sync += before.eq(before - 1)
    h.ensure(level == count)
    h.ensure(queue.empty == (count == 0))
    h.ensure(queue.room == (count < DEPTH))
    h.ensure(~its_turn | (queue.marked == mark))
    h.ensure(leaves | ~queue.marked)
    h.ensure(~inside | (before < count))
    oldest, newest = part.inside("oldest"), part.inside("newest")
    h.ensure((newest - oldest - level)[: len(newest)] == 0)
    place = (oldest + before)[: len(oldest)]
    h.ensure(~inside | (part.row(h, place, "marks") == mark))
    h.cover(its_turn & mark)


def confirmations_are_counted(h: Harness) -> None:
    serializer = ConfirmationSerializer(2)
    part = h.add("serializer", serializer)
    # TLPs that have begun and those that have ended, less those that are confirmed.
    begun = h.signal(range(CONFIRMATIONS + 2), "begun")
    whole = h.signal(range(CONFIRMATIONS + 1), "whole_tlps")
    inside = h.register(Mux(serializer.beat, ~serializer.last, begun != whole), "under_way")
    begins, ends = serializer.beat & ~inside, serializer.beat & serializer.last
    h.assume(~begins | (begun < CONFIRMATIONS))
    h.m.d.sync += [
        begun.eq(begun + begins - serializer.o),
        whole.eq(whole + ends - serializer.o),
    ]
    h.ensure(begun == whole + inside)
    h.ensure(part.inside("inside") == inside)
    h.ensure(part.inside("whole") == whole)
    # Those that come for a TLP; what comes for none is not among them.
    owed = h.signal(range(CONFIRMATIONS + 2), "owed")
    come = owed + serializer.i[0] + serializer.i[1]
    most = begun + begins
    count = Mux(come > most, most, come)
    h.m.d.sync += owed.eq(count - serializer.o)
    h.ensure(serializer.o == ((come != 0) & (whole != 0)))
    h.ensure(part.inside("waiting") == owed)
    h.ensure(owed <= begun)
    h.cover(serializer.o & (owed == 3))
    h.cover((owed == 1) & (begun == 1) & inside)


def numbers_come_back(h: Harness) -> None:
    """Of one write, whichever the solver likes: it is gone when its number came back or that of a
    later one did, or after a flush; and each is gone once."""
    numbers = SequenceNumbers(NUMBER_BITS, ports=2)
    part = h.add("numbers", numbers)
    h.assume(~numbers.taken | numbers.room)
    oldest, upto = part.inside("oldest"), part.inside("upto")
    under_way = (numbers.number - oldest)[:NUMBER_BITS]
    count = h.signal(NUMBER_BITS + 1, "count")
    h.m.d.sync += count.eq(count + numbers.taken - numbers.gone)
    h.ensure(count == under_way)
    h.ensure(~numbers.gone | (count != 0))
    h.ensure(numbers.empty == (count == 0))
    h.ensure(~numbers.room | (count < (1 << NUMBER_BITS) - 1))
    h.ensure((upto - oldest)[:NUMBER_BITS] <= under_way)

    chosen = h.free(1, "chosen")
    inside = h.signal(1, "inside")
    its_number = h.signal(NUMBER_BITS, "its_number")
    told = h.signal(1, "told")
    ahead = (its_number - oldest)[:NUMBER_BITS]
    enters = numbers.taken & chosen & ~inside
    leaves = inside & numbers.gone & (ahead == 0)
    comes_back = numbers.flush
    for port in range(2):
        at = (numbers.returned_number[port] - oldest)[:NUMBER_BITS]
        comes_back |= numbers.returned[port] & (at >= ahead) & (at < under_way)
    with h.m.If(enters):
        h.m.d.sync += [inside.eq(1), its_number.eq(numbers.number), told.eq(0)]
    with h.m.Elif(leaves):
        h.m.d.sync += inside.eq(0)
    with h.m.Else():
        h.m.d.sync += told.eq(told | comes_back)
    passed = (upto - oldest)[:NUMBER_BITS] > ahead
    h.ensure(~inside | (ahead < under_way))
    h.ensure(~inside | (passed == told))
    h.ensure(~leaves | told)
    h.cover(leaves & Mux(numbers.flush, 0, 1))


def what_was_dropped_is_gone(h: Harness) -> None:
    dropped = DroppedWrites(DROPPING)
    part = h.add("dropped", dropped)
    on = dropped.bus_master_enable
    fell = h.latch("fell", rises=~on, falls=dropped.flush)
    waited = h.count("waited", DROPPING.bit_length(), while_=fell & ~dropped.flush)
    h.ensure(dropped.hold == (on & fell))
    h.ensure(~dropped.flush | fell)
    h.ensure(~fell | dropped.flush | (waited + 1 == part.inside("since_fall")))
    h.ensure(fell == (part.inside("since_fall") != 0))
    h.ensure(part.inside("since_fall") <= DROPPING)
    h.cover(dropped.hold & dropped.flush)


def shims_settle(h: Harness) -> None:
    """Of one packet, whichever the solver likes, among others that enter and leave in order."""
    shim = ShimSettling(SETTING_BITS, most=DEPTH)
    part = h.add("shim", shim)
    entered, departed = shim.entered, shim.departed
    count = h.signal(range(DEPTH + 1), "packets")
    h.m.d.sync += count.eq(count + entered - departed)
    h.assume(~departed | (count != 0))
    h.assume(~entered | departed | (count < DEPTH))
    before = h.register(shim.settings, "settings_before")
    changes = (shim.settings != before) | shim.reset

    inside = h.signal(1, "packet_inside")
    ahead = h.signal(range(DEPTH + 1), "ahead")
    former = h.signal(1, "packet_former")
    enters = entered & h.free(1, "chosen") & ~inside
    leaves = inside & departed & (ahead == 0)
    h.m.d.sync += [
        inside.eq(enters | (inside & ~leaves)),
        ahead.eq(Mux(enters, count - departed, ahead - departed)),
        former.eq(changes | (former & ~enters)),
    ]
    h.ensure(~(inside & former) | (shim.former & ~shim.settled))
    h.ensure(shim.settled == (shim.core_settled & ~shim.former))
    h.cover(inside & former & (ahead == 2))
    h.cover(inside & ~former & shim.former)

    # For the induction.
    to_go = part.inside("tracker", "former_items")
    h.ensure(part.inside("tracker", "inside") == count)
    h.ensure(part.inside("was") == before)
    h.ensure((count <= DEPTH) & (to_go <= count))
    h.ensure(~inside | (ahead < count))
    h.ensure(~(inside & former) | (to_go > ahead))


def reads_fit_into_the_buffer(h: Harness) -> None:
    """Tags are used in turn, as many at once as there are."""
    room = CompletionRoom(HEADERS, tags=DEPTH)
    part = h.add("room", room, driven=["tag", "taken_tag"])
    newest, oldest = h.signal(DEPTH.bit_length(), "newest"), h.signal(DEPTH.bit_length(), "oldest")
    begun = (newest - oldest)[: len(newest)]
    h.m.d.comb += [room.tag.eq(newest), room.taken_tag.eq(oldest)]
    h.m.d.sync += [newest.eq(newest + room.allocate), oldest.eq(oldest + room.take)]
    h.assume(~room.allocate | (room.room & (begun < DEPTH) & (room.last >= room.first)))
    h.assume(~room.take | (begun != 0))
    # What the host may answer with: a completion for each 64 bytes that the read touches.
    needed = h.signal(range(HEADERS + 1), "needed")
    touched = 1 + sum(
        (
            (room.first < edge) & (room.last >= edge)
            for edge in range(COMPLETION_BYTES, REQUEST_BYTES, COMPLETION_BYTES)
        ),
        start=Value.cast(0),
    )
    given_back: Value = Value.cast(0)
    stored: Value = Value.cast(0)
    for place in range(DEPTH):
        more = part.row(h, (oldest + place)[: len(room.tag)], "table")
        stored += Mux(begun > place, more + 1, 0)
        if place == 0:
            given_back = more + 1
    h.m.d.sync += needed.eq(needed + Mux(room.allocate, touched, 0) - Mux(room.take, given_back, 0))
    h.ensure(begun <= DEPTH)
    h.ensure(stored == needed)
    h.ensure(part.inside("under_way") == needed)
    h.ensure(needed <= HEADERS)
    h.cover(room.take & (needed == HEADERS))


PROOFS = (
    Proof(
        property="writes-stay-whole",
        statement="DMA writes and MSI-X writes leave in one stream, each whole, as it came and "
        "once, and hold until they are taken; 64 bits, with sequence numbers",
        source=SOURCE,
        module="hdl.write_merger",
        harness=writes_stay_whole,
        mutant=Mutant(
            module="hdl.write_merger",
            before="locked.eq((locked | self.o.valid) & ~tlp_ends)",
            after="locked.eq((locked | (self.o.valid & self.o.ready)) & ~tlp_ends)",
        ),
    ),
    Proof(
        property="marks-come-back",
        statement=f"of up to {DEPTH} TLPs that a hard block holds, confirmed at any time: each is "
        "confirmed with its own mark, in order and once; no more are handed over",
        source=SOURCE,
        module="hdl.dma.confirmations",
        harness=marks_come_back,
        mutant=Mutant(
            module="hdl.dma.confirmations",
            before="leaves.eq(self.confirmed & ~self.empty)",
            after="leaves.eq(self.confirmed)",
        ),
    ),
    Proof(
        property="confirmations-are-counted",
        statement="of confirmations that come up to two a cycle, before the end of their TLP, too, "
        "or for none: each TLP is confirmed once, not before its end, and as soon as it may be; up "
        f"to {CONFIRMATIONS} TLPs",
        source=SOURCE,
        module="hdl.dma.confirmations",
        harness=confirmations_are_counted,
        mutant=Mutant(
            module="hdl.dma.confirmations",
            before="self.o.eq((self.i.any() | waiting.any()) & whole.any())",
            after="self.o.eq(self.i.any() | waiting.any())",
        ),
    ),
    Proof(
        property="what-was-dropped-is-gone",
        statement="however bus mastering goes off and on: what was under way counts as gone "
        f"{DROPPING} cycles after it fell, and from its return until then no write begins",
        source="PG213, cfg_function_status",
        module="hdl.shims.sequence",
        harness=what_was_dropped_is_gone,
        mutant=Mutant(
            module="hdl.shims.sequence",
            before="since_fall + (~self.bus_master_enable | since_fall.any())",
            after="since_fall + ~self.bus_master_enable",
        ),
    ),
    Proof(
        property="numbers-come-back",
        statement="of any numbers that come back, two a cycle: a write is gone when its own number "
        f"or a later one came back, or after a flush, in order and once; {NUMBER_BITS} bits",
        source=SOURCE,
        module="hdl.shims.sequence",
        harness=numbers_come_back,
        mutant=Mutant(
            module="hdl.shims.sequence",
            before="under_way = ahead < (self.number - oldest)[: self._bits]",
            after="under_way = ahead <= (self.number - oldest)[: self._bits]",
        ),
    ),
    Proof(
        property="shims-settle",
        statement=f"of up to {DEPTH} packets between the core and the block, settings changing and "
        "the function being reset at any time: a shim has not settled while one is there that was "
        "so by then, or while the core has not",
        source="PCI Express Base 4.0 sections 2.2.2, 6.6.2, 7.5.3.4",
        module="hdl.shims.settling",
        harness=shims_settle,
        mutant=Mutant(
            module="hdl.shims.settling",
            before="changed = (was != self.settings) | self.reset",
            after="changed = was != self.settings",
        ),
    ),
    Proof(
        property="reads-fit-into-the-buffer",
        statement=f"of up to {DEPTH} reads under way, of any lengths within a block of "
        f"{REQUEST_BYTES} bytes: however the host splits their answers at multiples of "
        f"{COMPLETION_BYTES} bytes, no more completions come than there is room for, {HEADERS}",
        source="PCI Express Base 4.0 sections 2.3.1.1, 2.6.1; PG156, completion space",
        module="hdl.dma.completion_room",
        harness=reads_fit_into_the_buffer,
        mutant=Mutant(
            module="hdl.dma.completion_room",
            before="self.room.eq(under_way <= self._headers - MOST_COMPLETIONS)",
            after="self.room.eq(under_way <= self._headers - MOST_COMPLETIONS + 1)",
        ),
    ),
)
