# SPDX-License-Identifier: BSD-2-Clause
"""Driver queues, which the gateware consumes."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from amaranth.hdl import Cat, Mux, Signal
from amaranth.lib import data, wiring

from hdl.geometry import Geometry
from hdl.queues.pop import PopEngine

from ..geometry import geometry
from ..harness import Harness, Part
from ..proof import Mutant, Proof
from ..ring import (
    SlotAccess,
    add_indices,
    add_memory,
    add_pop,
    distance,
    in_bank,
    slot_address,
    successor,
)

__all__ = ["PROOFS"]

CAPACITY = geometry(128, 1).layout.queue.capacity


class Reading:
    """The message in flight, derived from the read port alone.

    Attributes
    ----------
    read
        The word read in this cycle is valid on the stream in the next one.
    access
        The decoded address.
    first, last
        The word is the first, the last one of a message.
    begun, fifo, slot, word
        A word of a message has been read, and the word that comes next.
    """

    def __init__(self, h: Harness, g: Geometry, pop: PopEngine, part: Part):
        self.access = access = SlotAccess(g, g.layout.driver_queue, pop.ram.address)
        self.read = read = part.inside("step")
        h.ensure(~read | pop.ram.enable)
        h.ensure(pop.o.valid == h.register(read | (pop.o.valid & ~pop.o.ready), "was_offered"))
        self.begun = Signal(name="begun")
        self.fifo = Signal(g.fifo_shape, name="fifo")
        self.slot = Signal(g.index_shape, name="slot")
        self.word = Signal(range(g.slot_words), name="word")
        self.first = read & ~self.begun
        self.last = read & (access.word == g.slot_words - 1)
        with h.m.If(read):
            h.m.d.sync += [
                self.begun.eq(access.word != g.slot_words - 1),
                self.fifo.eq(access.fifo),
                self.slot.eq(access.slot),
                self.word.eq(access.word + 1),
            ]

    def ensure_whole(self, h: Harness) -> None:
        """Assert that every read is of a slot, and that a message is read in order."""
        access, read = self.access, self.read
        same = (access.fifo == self.fifo) & (access.slot == self.slot)
        h.ensure(~read | access.inside)
        h.ensure(~read | (access.word == self.word))
        h.ensure(~read | ~self.begun | same)

    def explain(self, h: Harness, g: Geometry, part: Part) -> None:
        """Relate the registers of the engine to this object, for the induction."""
        h.ensure(part.inside("active") == self.begun)
        h.ensure(part.inside("word") == self.word)
        h.ensure(~self.begun | (part.inside("last_fifo") == self.fifo))
        h.ensure(~self.begun | (part.inside("last_slot") == self.slot))
        h.ensure((self.word != 0) == self.begun)
        h.ensure(part.inside("last_fifo") < g.num_fifos)
        h.ensure(part.inside("last_slot") < CAPACITY)


def reads_stay_in_queue(h: Harness) -> None:
    g = geometry(128, 3)
    indices, _, _ = add_indices(h, g, driven=("driver_advance",))
    pop, part = add_pop(h, g, indices)
    reading = Reading(h, g, pop, part)
    reading.ensure_whole(h)
    reading.explain(h, g, part)
    for fifo in range(g.num_fifos):
        tail, snapshot = indices.driver.tail[fifo], indices.driver.head[fifo]
        here = reading.first & (reading.access.fifo == fifo)
        h.ensure(~here | ((reading.access.slot == tail) & (tail != snapshot)))
    h.cover(indices.sanitised & reading.begun)
    h.cover(reading.last & (reading.access.slot == CAPACITY - 1))


def tail_follows_reads(h: Harness) -> None:
    g = geometry(128, 2)
    indices, _, _ = add_indices(h, g, driven=("driver_advance",))
    pop, part = add_pop(h, g, indices)
    reading = Reading(h, g, pop, part)
    reading.explain(h, g, part)
    moves = pop.indices.advance
    spoilt_now = indices.reset | pop.indices.rewritten.bit_select(reading.access.fifo, 1)
    spoilt = Signal()
    with h.m.If(reading.begun | reading.read):
        h.m.d.sync += spoilt.eq((reading.begun & spoilt) | spoilt_now)
    h.ensure(~reading.begun | (part.inside("aborted") == spoilt))
    untouched = ~spoilt_now & ~(reading.begun & spoilt)
    h.ensure(moves.valid == (reading.last & untouched))
    h.ensure(~moves.valid | (moves.fifo == reading.access.fifo))
    h.ensure(~moves.valid | (moves.value == successor(reading.access.slot, CAPACITY)))
    h.cover(reading.last & ~untouched & ~spoilt_now)
    h.cover(moves.valid & moves.fifo[0])


def messages_are_delivered(h: Harness) -> None:
    """The host fills free slots, advances head past them and rings the doorbell at any time.

    The data is compared in one word of one slot, chosen by the solver.
    """
    g = geometry(128, 2)
    queue = g.layout.queue
    indices, inner, written = add_indices(h, g, driven=("driver_advance", "reset"))
    memory, store = add_memory(h, g, written, driven=("pop",))
    pop, part = add_pop(h, g, indices, driven=("ram_data",))
    wiring.connect(h.m, pop.ram, memory.pop)
    reading = Reading(h, g, pop, part)
    reading.ensure_whole(h)
    reading.explain(h, g, part)

    host = SlotAccess(g, g.layout.driver_queue, written.address)
    writes = written.enable
    for fifo in range(g.num_fifos):
        base = g.layout.driver_queue_base(fifo)
        tail, snapshot = indices.driver.tail[fifo], indices.driver.head[fifo]
        here = writes & (written.address == g.word(base + queue.head_offset))
        posted = h.signal(g.index_shape, f"posted_{fifo}")
        with h.m.If(here):
            h.m.d.sync += posted.eq(written.data[:32])
        # A driver that obeys the protocol.
        h.assume(~(writes & (written.address == g.word(base + queue.tail_offset))))
        h.assume(~here | written.mask[:4].all())
        h.assume(~here | (written.data[:32] == successor(posted, CAPACITY)))
        h.assume(~here | (successor(posted, CAPACITY) != tail))
        handed_over = distance(tail, host.slot, CAPACITY) < distance(tail, posted, CAPACITY)
        h.assume(~(writes & host.inside & (host.fifo == fifo) & handed_over))

        # In order and once, and no message before it has been handed over.
        delivered = h.signal(g.index_shape, f"delivered_{fifo}")
        ends = reading.last & (reading.access.fifo == fifo)
        with h.m.If(ends):
            h.m.d.sync += delivered.eq(successor(delivered, CAPACITY))
        begins = reading.first & (reading.access.fifo == fifo)
        h.ensure(~begins | ((reading.access.slot == delivered) & (delivered != posted)))

        # The head reaches the engine two cycles later.
        stages = [posted]
        for stage in range(2):
            stages.append(h.register(stages[-1], f"posted_{fifo}_{stage}"))
        head = inner.inside(f"driver_head_{fifo}", "index")
        h.ensure(tail == delivered)
        h.ensure(head == stages[-1])
        h.ensure(inner.inside(f"driver_head_{fifo}", "word") == posted)
        h.ensure(~inner.inside(f"driver_tail_{fifo}", "written_q"))
        h.ensure(~inner.inside(f"driver_tail_{fifo}", "updates"))
        way = [distance(tail, index, CAPACITY) for index in (snapshot, *reversed(stages))]
        for nearer, further in itertools.pairwise(way):
            h.ensure(nearer <= further)
        for index in (tail, snapshot, *stages):
            h.ensure(index < CAPACITY)
        mine = reading.begun & (reading.fifo == fifo)
        h.ensure(~mine | ((reading.slot == tail) & (snapshot != tail)))
    h.ensure(~reading.begun | ~part.inside("aborted"))

    fifo = h.constant(1, "watched_fifo")
    slot = h.constant(g.index_shape, "watched_slot")
    word = h.constant(range(g.slot_words), "watched_word")
    h.assume(slot < CAPACITY)
    content = h.signal(g.data_width, "content")
    at_watched = host.inside & (host.fifo == fifo) & (host.slot == slot) & (host.word == word)
    for byte in range(g.word_bytes):
        bits = slice(8 * byte, 8 * byte + 8)
        with h.m.If(writes & at_watched & memory.host.write.mask[byte]):
            h.m.d.sync += content[bits].eq(memory.host.write.data[bits])
    address = slot_address(g, g.layout.driver_queue, fifo, slot, word)
    h.ensure(store.row(h, in_bank(g, address), "driver_bank") == content)

    seen, read, beat = reading.access, reading.read, pop.o.p
    same = (seen.fifo == fifo) & (seen.slot == slot) & (seen.word == word)
    shows = h.latched(same, read, "shows")
    shown = h.latched(content, read, "shown")
    h.ensure(~(pop.o.valid & shows) | (beat.tdata == shown))
    is_last = h.latched(reading.last, read, "is_last")
    h.ensure(~pop.o.valid | (beat.tlast == is_last))
    h.ensure(~pop.o.valid | (beat.tdest == h.latched(seen.fifo, read, "is_for")))
    h.ensure(~pop.o.valid | beat.tkeep.all())
    # One beat for each word, held until it is accepted.
    waits = pop.o.valid & ~pop.o.ready
    h.ensure(~(read & waits))
    h.ensure(pop.o.valid == (h.register(read, "was_read") | h.register(waits, "waited")))
    h.cover(pop.o.valid & shows & beat.tlast & shown.any())


def doorbells_sample_the_head(h: Harness) -> None:
    """Three cycles after a doorbell, the sampled head is the one written before it."""
    g = geometry(128, 2)
    indices, part, _ = add_indices(h, g)
    for fifo in range(g.num_fifos):
        word = part.inside(f"driver_head_{fifo}", "word")
        rung = [indices.doorbell[fifo]]
        heads = [word]
        undone = Signal(3, name=f"undone_{fifo}")
        h.m.d.sync += undone.eq(Cat(indices.reset | indices.driver.rewritten[fifo], undone))
        for stage in range(3):
            rung.append(h.register(rung[-1], f"rung_{fifo}_{stage}"))
            heads.append(h.register(heads[-1], f"head_{fifo}_{stage}"))
        heard = rung[-1] & ~undone.any() & (heads[-1] < CAPACITY)
        # For the induction: the word in each stage between the write and the index.
        fresh = part.inside(f"driver_head_{fifo}", "written_q")
        settles = part.inside(f"driver_head_{fifo}", "updates")
        index = part.inside(f"driver_head_{fifo}", "index")
        counts = Mux(settles, part.inside("modulo", "remainder"), index)
        h.ensure(~fresh | (part.inside("merged_q") == word))
        h.ensure(fresh | (word >= CAPACITY) | (counts == word))
        h.ensure(~heard | (indices.driver.head[fifo] == heads[-1]))
        h.cover(heard & (indices.driver.head[fifo] == CAPACITY - 1))


def queues_are_served_in_bounded_time(width: int, fifos: int) -> Callable[[Harness], None]:
    """Any indices that change at any time, except those of the waiting queue."""

    def fill(h: Harness) -> None:
        g = geometry(width, fifos)
        pop = PopEngine(g)
        part = h.add("pop", pop)
        fifo = h.constant(range(fifos), "waiting_fifo")
        h.assume(fifo < fifos)
        tail = data.View(g.indices_shape, pop.indices.tail)[fifo]
        snapshot = data.View(g.indices_shape, pop.indices.head)[fifo]
        has_message = (tail != snapshot) & pop.has_space.bit_select(fifo, 1) & ~pop.reset
        begins = part.inside("step") & ~part.inside("active") & (part.inside("fifo") == fifo)
        # Cycles in which the stream stalls do not count, and do not reset the count.
        limit = fifos * g.slot_words
        waited = h.signal(range(2 * limit), "waited")
        with h.m.If(~has_message | begins):
            h.m.d.sync += waited.eq(0)
        with h.m.Elif(~waited.all() & (~pop.o.valid | pop.o.ready)):
            h.m.d.sync += waited.eq(waited + 1)
        h.ensure(waited < limit)
        # For the induction: FIFOs before the waiting one, and words left of the message in flight.
        # The grant passes a waiting queue only during a message of its own.
        words, active = g.slot_words, part.inside("active")
        word, turn = part.inside("word"), part.inside("grant")
        h.ensure(turn < fifos)
        h.ensure((active == (word != 0)) & (word < words))
        turns = Mux(turn > fifo, fifo + fifos - turn, fifo - turn)
        rest = Mux(active, words - word, 0)
        h.ensure(waited + turns * words + rest < limit)
        h.ensure(~active | (part.inside("last_fifo") != fifo) | (waited + rest < words))
        h.cover(begins & (waited == limit - 1))

    return fill


PROOFS = (
    Proof(
        property="reads-stay-in-queue",
        statement="every read is of a slot of a driver queue, a message begins at tail and only if "
        "tail is not the doorbell head, its words are read in order, and every index is below 62; "
        "for a host that writes anything at any time and resets, three FIFOs, 128 bits",
        source="patch series, spsc_recv; virtio-msg over shared memory, hostile peers",
        module="hdl.queues.pop",
        harness=reads_stay_in_queue,
        depth=2,
        mutant=Mutant(
            module="hdl.queues.pop",
            before="(tail[fifo] != self.indices.head[fifo]) & self.has_space[fifo]",
            after="self.has_space[fifo]",
        ),
    ),
    Proof(
        property="tail-follows-reads",
        statement="tail advances by one with the last word of each message, unless the host reset "
        "the function or wrote the tail since its first word; any host, two FIFOs, 128 bits",
        source="patch series, spsc_recv",
        module="hdl.queues.pop",
        harness=tail_follows_reads,
        depth=2,
        mutant=Mutant(
            module="hdl.queues.pop",
            before="ends & ~abort & ~(active & aborted)",
            after="ends & ~abort",
            depth=24,
        ),
    ),
    Proof(
        property="messages-are-delivered",
        statement="each message leaves once, in order and whole, with the data of its slot, for "
        "any back-pressure; a host that obeys the protocol, two FIFOs, 128 bits",
        source="patch series, spsc_send and spsc_recv",
        module="hdl.queues.pop",
        harness=messages_are_delivered,
        depth=5,
        mutant=Mutant(
            module="hdl.queues.memory",
            before="driver_pop.en.eq(self.pop.enable)",
            after="driver_pop.en.eq(1)",
        ),
    ),
    Proof(
        property="doorbells-sample-the-head",
        statement="three cycles after a doorbell the doorbell head is the head that the host wrote "
        "before, unless that is beyond the capacity, or the host has reset the function or written "
        "the tail since; any host, two FIFOs",
        source="patch series, vmsg_bus_amp_pci_process",
        module="hdl.queues.index_words",
        harness=doorbells_sample_the_head,
        depth=5,
        mutant=Mutant(
            module="hdl.queues.index_words",
            before="with m.If(doorbell_q2[fifo]):",
            after="with m.If(doorbell_q2[fifo] & ~self.device.rewritten.any()):",
        ),
    ),
    *(
        Proof(
            property=f"queues-are-served-in-bounded-time-{fifos}",
            statement="a queue with a message starts within "
            f"{fifos * geometry(width, fifos).slot_words} cycles in which the stream is ready, for "
            f"any activity of the other FIFOs; any host, {fifos} FIFOs, {width} bits",
            source="no doorbell is lost; patch series, vmsg_bus_amp_pci_process",
            module="hdl.queues.pop",
            harness=queues_are_served_in_bounded_time(width, fifos),
            depth=2,
            mutant=Mutant(
                module="hdl.arbiter",
                before="pick = Mux(requests[index] & (last < index), index, pick)",
                after="pick = Mux(requests[index] & (last + 1 < index), index, pick)",
                depth=30,
            ),
        )
        for width, fifos in ((512, 8), (128, 3))
    ),
)
