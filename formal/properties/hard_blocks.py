# SPDX-License-Identifier: BSD-2-Clause
"""Requests to a hard block: one stream of writes, their departure, and space for completions."""

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
    in_write = h.latch(
        "in_write", rises=taken & ~merger.writes.p.eop, falls=taken & merger.writes.p.eop
    )
    h.ensure(~in_write | ~merger.interrupts.ready)
    # Each beat that leaves is a beat of one input, unchanged.
    leaves = merger.o.valid & merger.o.ready
    interrupt = merger.interrupts.valid & merger.interrupts.ready
    h.ensure(leaves == (taken | interrupt))
    h.ensure(~(taken & interrupt))
    h.ensure(~taken | (merger.o.p == merger.writes.p))
    h.ensure(~interrupt | (merger.o.p.hdr == merger.interrupts.p.hdr))
    h.ensure(~in_write | (part.inside("locked") & ~part.inside("interrupt_q")))
    h.cover(interrupt)


def confirmations_return_marks(h: Harness) -> None:
    """Track one arbitrary TLP among others."""
    queue = ConfirmationQueue(DEPTH)
    part = h.add("queue", queue)
    h.assume(~queue.accepted | queue.has_space)
    level = part.inside("level")
    departs = queue.confirmed & (level != 0)
    count = h.signal(range(DEPTH + 1), "count")
    h.m.d.sync += count.eq(count + queue.accepted - departs)
    # TLPs that depart before the tracked one, once that is inside.
    chosen = h.free(1, "chosen")
    inside = h.signal(1, "inside")
    ahead = h.signal(range(DEPTH + 1), "ahead")
    mark = h.signal(1, "expected_mark")
    enters = queue.accepted & chosen & ~inside
    leaves = inside & departs & (ahead == 0)
    with h.m.If(enters):
        h.m.d.sync += [inside.eq(1), mark.eq(queue.mark), ahead.eq(count - departs)]
    with h.m.Elif(leaves):
        h.m.d.sync += inside.eq(0)
    with h.m.Elif(departs):
        h.m.d.sync += ahead.eq(ahead - 1)
    h.ensure(level == count)
    h.ensure(queue.empty == (count == 0))
    h.ensure(queue.has_space == (count < DEPTH))
    h.ensure(~leaves | (queue.marked == mark))
    h.ensure(departs | ~queue.marked)
    h.ensure(~inside | (ahead < count))
    oldest, newest = part.inside("oldest"), part.inside("newest")
    h.ensure((newest - oldest - level)[: len(newest)] == 0)
    place = (oldest + ahead)[: len(oldest)]
    h.ensure(~inside | (part.row(h, place, "marks") == mark))
    h.cover(leaves & mark)


def confirmations_are_counted(h: Harness) -> None:
    serializer = ConfirmationSerializer(2)
    part = h.add("serializer", serializer)
    # Unconfirmed TLPs that have begun, and those that have ended.
    begun = h.signal(range(CONFIRMATIONS + 2), "begun")
    whole = h.signal(range(CONFIRMATIONS + 1), "whole_tlps")
    in_progress = h.register(Mux(serializer.beat, ~serializer.last, begun != whole), "in_tlp")
    begins, ends = serializer.beat & ~in_progress, serializer.beat & serializer.last
    h.assume(~begins | (begun < CONFIRMATIONS))
    h.m.d.sync += [
        begun.eq(begun + begins - serializer.o),
        whole.eq(whole + ends - serializer.o),
    ]
    h.ensure(begun == whole + in_progress)
    h.ensure(part.inside("in_progress") == in_progress)
    h.ensure(part.inside("whole") == whole)
    # Confirmations that have a TLP; others are dropped.
    unused = h.signal(range(CONFIRMATIONS + 2), "unused")
    arrived = unused + serializer.i[0] + serializer.i[1]
    limit = begun + begins
    count = Mux(arrived > limit, limit, arrived)
    h.m.d.sync += unused.eq(count - serializer.o)
    h.ensure(serializer.o == ((arrived != 0) & (whole != 0)))
    h.ensure(part.inside("pending") == unused)
    h.ensure(unused <= begun)
    h.cover(serializer.o & (unused == 3))
    h.cover((unused == 1) & (begun == 1) & in_progress)


def sequence_numbers_retire_writes(h: Harness) -> None:
    """Track one arbitrary write: it is gone once, after its number or a later one was returned, or
    after a flush."""
    numbers = SequenceNumbers(NUMBER_BITS, ports=2)
    part = h.add("numbers", numbers)
    h.assume(~numbers.accepted | numbers.has_space)
    oldest, gone_upto = part.inside("oldest"), part.inside("gone_upto")
    in_flight = (numbers.number - oldest)[:NUMBER_BITS]
    count = h.signal(NUMBER_BITS + 1, "count")
    h.m.d.sync += count.eq(count + numbers.accepted - numbers.gone)
    h.ensure(count == in_flight)
    h.ensure(~numbers.gone | (count != 0))
    h.ensure(~numbers.has_space | (count < (1 << NUMBER_BITS) - 1))
    h.ensure((gone_upto - oldest)[:NUMBER_BITS] <= in_flight)

    chosen = h.free(1, "chosen")
    inside = h.signal(1, "inside")
    tracked_number = h.signal(NUMBER_BITS, "tracked_number")
    returned = h.signal(1, "returned")
    ahead = (tracked_number - oldest)[:NUMBER_BITS]
    enters = numbers.accepted & chosen & ~inside
    leaves = inside & numbers.gone & (ahead == 0)
    returns = numbers.flush
    for port in range(2):
        at = (numbers.returned_number[port] - oldest)[:NUMBER_BITS]
        returns |= numbers.returned[port] & (at >= ahead) & (at < in_flight)
    with h.m.If(enters):
        h.m.d.sync += [inside.eq(1), tracked_number.eq(numbers.number), returned.eq(0)]
    with h.m.Elif(leaves):
        h.m.d.sync += inside.eq(0)
    with h.m.Else():
        h.m.d.sync += returned.eq(returned | returns)
    is_gone = (gone_upto - oldest)[:NUMBER_BITS] > ahead
    h.ensure(~inside | (ahead < in_flight))
    h.ensure(~inside | (is_gone == returned))
    h.ensure(~leaves | returned)
    h.cover(leaves & Mux(numbers.flush, 0, 1))


def dropped_writes_are_flushed(h: Harness) -> None:
    dropped = DroppedWrites(DROPPING)
    part = h.add("dropped", dropped)
    enabled = dropped.bus_master_enable
    fell = h.latch("fell", rises=~enabled, falls=dropped.flush)
    elapsed = h.count("elapsed", DROPPING.bit_length(), while_=fell & ~dropped.flush)
    h.ensure(dropped.hold == (enabled & fell))
    h.ensure(~dropped.flush | fell)
    h.ensure(~fell | dropped.flush | (elapsed + 1 == part.inside("since_fall")))
    h.ensure(fell == (part.inside("since_fall") != 0))
    h.ensure(part.inside("since_fall") <= DROPPING)
    h.cover(dropped.hold & dropped.flush)


def shims_settle(h: Harness) -> None:
    """Track one arbitrary packet among others that enter and leave in order."""
    shim = ShimSettling(SETTING_BITS, max_packets=DEPTH)
    part = h.add("shim", shim)
    entered, departed = shim.entered, shim.departed
    count = h.signal(range(DEPTH + 1), "packets")
    h.m.d.sync += count.eq(count + entered - departed)
    h.assume(~departed | (count != 0))
    h.assume(~entered | departed | (count < DEPTH))
    settings_q = h.register(shim.settings, "previous_settings")
    changes = (shim.settings != settings_q) | shim.reset

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

    # Invariants.
    former_items = part.inside("tracker", "former_items")
    h.ensure(part.inside("tracker", "inside") == count)
    h.ensure(part.inside("settings_q") == settings_q)
    h.ensure((count <= DEPTH) & (former_items <= count))
    h.ensure(~inside | (ahead < count))
    h.ensure(~(inside & former) | (former_items > ahead))


def reads_fit_the_receive_buffer(h: Harness) -> None:
    """Tags are allocated in circular order, at most as many at once as there are."""
    room = CompletionRoom(HEADERS, tags=DEPTH)
    part = h.add("room", room, driven=["tag", "taken_tag"])
    newest, oldest = h.signal(DEPTH.bit_length(), "newest"), h.signal(DEPTH.bit_length(), "oldest")
    begun = (newest - oldest)[: len(newest)]
    first, last = room.first_offset, room.last_offset
    h.m.d.comb += [room.tag.eq(newest), room.taken_tag.eq(oldest)]
    h.m.d.sync += [newest.eq(newest + room.allocate), oldest.eq(oldest + room.take)]
    h.assume(~room.allocate | (room.has_space & (begun < DEPTH) & (last >= first)))
    h.assume(~room.take | (begun != 0))
    # The host may answer with one completion for each 64 bytes that the read touches.
    needed = h.signal(range(HEADERS + 1), "needed")
    touched = 1 + sum(
        (
            (first < edge) & (last >= edge)
            for edge in range(COMPLETION_BYTES, REQUEST_BYTES, COMPLETION_BYTES)
        ),
        start=Value.cast(0),
    )
    released: Value = Value.cast(0)
    stored: Value = Value.cast(0)
    for place in range(DEPTH):
        count_m1 = part.row(h, (oldest + place)[: len(room.tag)], "table")
        stored += Mux(begun > place, count_m1 + 1, 0)
        if place == 0:
            released = count_m1 + 1
    h.m.d.sync += needed.eq(needed + Mux(room.allocate, touched, 0) - Mux(room.take, released, 0))
    h.ensure(begun <= DEPTH)
    h.ensure(stored == needed)
    h.ensure(part.inside("outstanding") == needed)
    h.ensure(needed <= HEADERS)
    h.cover(room.take & (needed == HEADERS))


PROOFS = (
    Proof(
        property="writes-stay-whole",
        statement="DMA writes and MSI-X writes leave in one stream, each whole, unchanged and "
        "once, and hold until accepted; 64 bits, with sequence numbers",
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
        property="confirmations-return-marks",
        statement=f"for up to {DEPTH} TLPs in a hard block, confirmed at any time: each TLP is "
        "confirmed with its own mark, in order and once; no more are handed over",
        source=SOURCE,
        module="hdl.dma.confirmations",
        harness=confirmations_return_marks,
        mutant=Mutant(
            module="hdl.dma.confirmations",
            before="departs.eq(self.confirmed & ~self.empty)",
            after="departs.eq(self.confirmed)",
        ),
    ),
    Proof(
        property="confirmations-are-counted",
        statement="for up to two confirmations per cycle, even before the end of their TLP or "
        "without a TLP: each TLP is confirmed once, not before its end, and as soon as possible; "
        f"up to {CONFIRMATIONS} TLPs",
        source=SOURCE,
        module="hdl.dma.confirmations",
        harness=confirmations_are_counted,
        mutant=Mutant(
            module="hdl.dma.confirmations",
            before="self.o.eq((self.i.any() | pending.any()) & whole.any())",
            after="self.o.eq(self.i.any() | pending.any())",
        ),
    ),
    Proof(
        property="dropped-writes-are-flushed",
        statement=f"for any changes of bus mastering: the writes in flight are flushed {DROPPING} "
        "cycles after it fell, and no write begins between its rise and the flush",
        source="PG213, cfg_function_status",
        module="hdl.shims.sequence",
        harness=dropped_writes_are_flushed,
        mutant=Mutant(
            module="hdl.shims.sequence",
            before="since_fall + (~self.bus_master_enable | since_fall.any())",
            after="since_fall + ~self.bus_master_enable",
        ),
    ),
    Proof(
        property="sequence-numbers-retire-writes",
        statement="for any returned numbers, up to two per cycle: a write is gone after its own "
        f"number or a later one was returned, or after a flush, in order and once; {NUMBER_BITS} "
        "bits",
        source=SOURCE,
        module="hdl.shims.sequence",
        harness=sequence_numbers_retire_writes,
        mutant=Mutant(
            module="hdl.shims.sequence",
            before="in_flight = ahead < (self.number - oldest)[: self._bits]",
            after="in_flight = ahead <= (self.number - oldest)[: self._bits]",
        ),
    ),
    Proof(
        property="shims-settle",
        statement=f"for up to {DEPTH} packets between the core and the block, with settings that "
        "change and resets at any time: a shim is not settled while it holds a packet that "
        "entered before, or while the core is not settled",
        source="PCI Express Base 4.0 sections 2.2.2, 6.6.2, 7.5.3.4",
        module="hdl.shims.settling",
        harness=shims_settle,
        mutant=Mutant(
            module="hdl.shims.settling",
            before="changed = (settings_q != self.settings) | self.reset",
            after="changed = settings_q != self.settings",
        ),
    ),
    Proof(
        property="reads-fit-the-receive-buffer",
        statement=f"for up to {DEPTH} outstanding reads of any length within a block of "
        f"{REQUEST_BYTES} bytes, and a host that splits its answers at any multiples of "
        f"{COMPLETION_BYTES} bytes: no more completions arrive than fit, {HEADERS}",
        source="PCI Express Base 4.0 sections 2.3.1.1, 2.6.1; PG156, completion space",
        module="hdl.dma.completion_room",
        harness=reads_fit_the_receive_buffer,
        mutant=Mutant(
            module="hdl.dma.completion_room",
            before="self.has_space.eq(outstanding <= self._headers - MAX_COMPLETIONS)",
            after="self.has_space.eq(outstanding <= self._headers - MAX_COMPLETIONS + 1)",
        ),
    ),
)
