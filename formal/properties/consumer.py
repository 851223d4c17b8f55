# SPDX-License-Identifier: BSD-2-Clause
"""Driver queues, which the gateware consumes."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from amaranth.hdl import Mux, Signal
from amaranth.lib import wiring

from hdl.geometry import Geometry
from hdl.queues.pop import PopEngine

from ..geometry import geometry
from ..harness import Harness, Part
from ..proof import Mutant, Proof
from ..ring import (
    Queues,
    SlotAccess,
    add_memory,
    add_pop,
    cycles_to_clear,
    distance,
    in_bank,
    is_slot,
    last_slot,
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

    def explain(self, h: Harness, g: Geometry, part: Part, queues: Queues) -> None:
        """Relate the registers of the engine to this object, for the induction."""
        h.ensure(part.inside("active") == self.begun)
        h.ensure(part.inside("word") == self.word)
        h.ensure(~self.begun | (part.inside("last_fifo") == self.fifo))
        h.ensure(~self.begun | (last_slot(g, part).index == self.slot))
        h.ensure((self.word != 0) == self.begun)
        h.ensure(part.inside("last_fifo") < g.num_fifos)
        for fifo in range(g.num_fifos):
            mine = self.begun & (self.fifo == fifo) & ~part.inside("aborted")
            h.ensure(~mine | (self.slot == queues.driver_tail(fifo)))
        last = last_slot(g, part)
        h.ensure(last.index < CAPACITY)
        h.ensure(~self.begun | is_slot(g, last))


def reads_stay_in_queue(fifos: int) -> Callable[[Harness], None]:
    """A host that writes anything at any time and resets."""

    def fill(h: Harness) -> None:
        g = geometry(128, fifos)
        queues = Queues(h, g, driver=True, driven=("engine",))
        pop, part = add_pop(h, g, queues)
        reading = Reading(h, g, pop, part)
        reading.ensure_whole(h)
        reading.explain(h, g, part, queues)
        for fifo in range(fifos):
            tail, limit = queues.driver_tail(fifo), queues.doorbell_head(fifo)
            here = reading.first & (reading.access.fifo == fifo)
            h.ensure(~here | ((reading.access.slot == tail) & (tail != limit)))
        h.cover(queues.words.sanitised & reading.begun)
        h.cover(reading.last & (reading.access.slot == CAPACITY - 1))

    return fill


def tail_follows_reads(h: Harness) -> None:
    g = geometry(128, 2)
    queues = Queues(h, g, driver=True, driven=("engine",))
    pop, part = add_pop(h, g, queues)
    reading = Reading(h, g, pop, part)
    reading.explain(h, g, part, queues)
    port = pop.queues
    spoilt_now = queues.words.reset | (reading.begun & port.rewritten)
    spoilt = Signal()
    with h.m.If(reading.begun | reading.read):
        h.m.d.sync += spoilt.eq((reading.begun & spoilt) | spoilt_now)
    h.ensure(~reading.begun | (part.inside("aborted") == spoilt))
    untouched = ~spoilt_now & ~(reading.begun & spoilt)
    # A reset clears the tail after an advance in its own cycle.
    h.ensure(port.advance == (reading.last & ~(reading.begun & spoilt)))
    h.ensure(~port.advance | ~port.rewritten)
    h.ensure(~port.advance | ((port.advance_fifo == reading.access.fifo) & ~port.hold))
    h.ensure(~port.advance | (port.next_index == successor(reading.access.slot, CAPACITY)))
    h.cover(reading.last & ~untouched & ~spoilt_now)
    h.cover(port.advance & port.advance_fifo[0])


def messages_are_delivered(h: Harness) -> None:
    """The host fills free slots, advances head past them and rings the doorbell at any time.

    The data is compared in one word of one slot, chosen by the solver.
    """
    g = geometry(128, 2)
    queue = g.layout.queue
    queues = Queues(h, g, driver=True, driven=("engine", "reset"))
    written = queues.host
    memory, store = add_memory(h, g, written, driven=("pop",))
    pop, part = add_pop(h, g, queues, driven=("ram_data",))
    wiring.connect(h.m, pop.ram, memory.pop)
    reading = Reading(h, g, pop, part)
    reading.ensure_whole(h)
    reading.explain(h, g, part, queues)

    host = SlotAccess(g, g.layout.driver_queue, written.address)
    writes = written.enable
    for fifo in range(g.num_fifos):
        base = g.layout.driver_queue_base(fifo)
        tail, limit = queues.driver_tail(fifo), queues.doorbell_head(fifo)
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
        h.ensure(tail == delivered)
        h.ensure(queues.driver_head(fifo) == stages[-1])
        h.ensure(queues.word(base + queue.head_offset) == posted)
        way = [distance(tail, index, CAPACITY) for index in (limit, *reversed(stages))]
        for nearer, further in itertools.pairwise(way):
            h.ensure(nearer <= further)
        for index in (tail, limit, *stages):
            h.ensure(index < CAPACITY)
        mine = reading.begun & (reading.fifo == fifo)
        h.ensure(~mine | ((reading.slot == tail) & pop.queues.has_one[fifo]))
        # Words are cleared only before the first message.
        h.ensure(~queues.words.clear | ((tail == 0) & (limit == 0) & (posted == 0)))
    h.ensure(~reading.begun | ~part.inside("aborted"))
    h.ensure(~queues.words.clear | ~reading.begun)
    kinds = queues.words_part.inside("lands"), queues.words_part.inside("coming")
    for kind in kinds:
        h.ensure(queues.words.clear | ~kind[1])

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


def queues_are_served_in_bounded_time(width: int, fifos: int) -> Callable[[Harness], None]:
    """Any queues that change at any time, except the waiting one."""

    def fill(h: Harness) -> None:
        g = geometry(width, fifos)
        pop = PopEngine(g)
        part = h.add("pop", pop)
        fifo = h.constant(range(fifos), "waiting_fifo")
        h.assume(fifo < fifos)
        queues = pop.queues
        has_message = (queues.has_one & pop.has_space).bit_select(fifo, 1) & ~pop.reset
        begins = part.inside("step") & ~part.inside("active") & (part.inside("fifo") == fifo)
        # Cycles in which the stream or a host write stalls do not count, and do not reset the
        # count.
        limit = fifos * g.slot_words
        waited = h.signal(range(2 * limit), "waited")
        with h.m.If(~has_message | begins):
            h.m.d.sync += waited.eq(0)
        with h.m.Elif(~waited.all() & (~pop.o.valid | pop.o.ready) & ~queues.hold):
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
    *(
        Proof(
            property=f"reads-stay-in-queue-{fifos}",
            statement="every read is of a slot of a driver queue, a message begins at tail and "
            "only if tail is not the doorbell head, its words are read in order, and every index "
            "is below 62; for a host that writes anything at any time and resets, "
            f"{fifos} FIFO{'s' * (fifos > 1)}, 128 bits",
            source="patch series, spsc_recv; virtio-msg over shared memory, hostile peers",
            module="hdl.queues.pop",
            harness=reads_stay_in_queue(fifos),
            depth=2,
            cover_depth=20 + cycles_to_clear(fifos),
            mutant=Mutant(
                module="hdl.queues.pop",
                before="queues.has_one & self.has_space",
                after="self.has_space",
                depth=20 + cycles_to_clear(fifos),
            ),
        )
        for fifos in (1, 3, 8)
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
            before="ends & ~(active & aborted)",
            after="ends",
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
    *(
        Proof(
            property=f"queues-are-served-in-bounded-time-{fifos}",
            statement="a queue with a message starts within "
            f"{fifos * geometry(width, fifos).slot_words} cycles in which neither the stream nor a "
            "host write stalls, for "
            f"any activity of the other FIFOs; any host, {fifos} FIFOs, {width} bits",
            source="no doorbell is lost; patch series, vmsg_bus_amp_pci_process",
            module="hdl.queues.pop",
            harness=queues_are_served_in_bounded_time(width, fifos),
            depth=2,
            mutant=Mutant(
                module="hdl.arbiter",
                before="*(last < index for",
                after="*(last + 1 < index for",
                depth=30,
            ),
        )
        for width, fifos in ((512, 8), (128, 3))
    ),
)
