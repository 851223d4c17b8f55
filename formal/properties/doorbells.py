# SPDX-License-Identifier: BSD-2-Clause
"""Doorbells: the head that each one samples, and the messages that this gives the engine."""

from __future__ import annotations

from collections.abc import Callable

from amaranth.hdl import Array, Cat, Mux, Signal

from ..geometry import geometry
from ..harness import Harness
from ..proof import Mutant, Proof
from ..ring import Queues, cycles_to_clear, successor

__all__ = ["PROOFS"]

CAPACITY = geometry(128, 1).layout.queue.capacity
ROUND_ROBIN = "round_robin(waiting, last)"


def doorbells_sample_the_head(fifos: int) -> Callable[[Harness], None]:
    """The doorbells of one FIFO, which the solver chooses; the host does anything.

    A head beyond the capacity is not compared: the remainder has a proof of its own.
    """

    def fill(h: Harness) -> None:
        g = geometry(128, fifos)
        queues = Queues(h, g, driver=True)
        driver, part, words = queues.driver, queues.driver_part, queues.words
        fifo = h.constant(g.fifo_shape, "watched_fifo")
        h.assume(fifo < fifos)
        base = [g.layout.driver_queue_base(number) for number in range(fifos)]
        head, tail = (
            Array(g.word(at + offset) for at in base)[fifo]
            for offset in (g.layout.queue.head_offset, g.layout.queue.tail_offset)
        )
        # A write of some bytes takes effect one cycle later than a whole one.
        writes, whole = words.write.enable & ~words.reset, words.write.mask.all()
        writes_head, writes_tail = (writes & (words.write.address == at) for at in (head, tail))
        merges_head, merges_tail = (
            h.register(write & ~whole, f"merges_{name}")
            for write, name in ((writes_head, "head"), (writes_tail, "tail"))
        )
        rings = driver.doorbell.bit_select(fifo, 1)
        # The head that the host has written, whole, and the one that each doorbell samples.
        posted, known = h.signal(g.index_shape, "posted"), h.signal(1, "known")
        with h.m.If(writes_head & whole):
            h.m.d.sync += [posted.eq(words.write.data), known.eq(words.write.data < CAPACITY)]
        with h.m.Elif(merges_head):
            h.m.d.sync += known.eq(0)
        with h.m.If(words.clear):
            h.m.d.sync += known.eq(0)
        latest = [Cat(posted, known)]
        for age in range(2):
            latest.append(h.latched(latest[-1], rings if not age else 1, f"rung_{age}"))
        # A doorbell is a host write too.
        h.assume(~(queues.host.enable & driver.doorbell.any()))
        h.assume(~driver.doorbell.any() | h.register(words.write_ready, "may_ring"))
        samples = part.inside("count") & (part.inside("count_fifo") == fifo)
        # With several FIFOs a doorbell is selected one cycle before it samples.
        seen = latest[1 if fifos == 1 else 2]
        at_sample = queues.driver_head(fifo)
        h.ensure(~samples | ~seen[-1] | (at_sample == seen[:-1]))
        owed = Signal()
        written_q = h.register((writes_tail & whole) | merges_tail, "tail_written_q")
        selected = (
            samples if fifos == 1 else part.inside("selects") & (part.inside("selected") == fifo)
        )
        with h.m.If(rings):
            h.m.d.sync += owed.eq(1)
        with h.m.Elif(selected | written_q):
            h.m.d.sync += owed.eq(0)
        with h.m.If(words.clear):
            h.m.d.sync += owed.eq(0)
        waiting = part.inside("waiting").bit_select(fifo, 1)
        h.ensure(waiting == owed)
        # What a doorbell sampled is in force until the next one.
        applies = Signal()
        limit = h.latched(at_sample, samples, "limit")
        forgets = words.driver.tail & (words.driver.fifo == fifo)
        with h.m.If(samples):
            h.m.d.sync += applies.eq(1)
        with h.m.If(forgets | words.clear):
            h.m.d.sync += applies.eq(0)
        h.ensure(~applies | (queues.doorbell_head(fifo) == limit))
        # An engine takes no item of a queue that has started over.
        takes = driver.engine.advance & (driver.engine.advance_fifo == fifo)
        h.assume(~takes | applies)
        current = queues.driver_tail(fifo)
        one = driver.engine.has_one.bit_select(fifo, 1)
        two = driver.engine.has_two.bit_select(fifo, 1)
        h.ensure(one == (applies & (current != limit)))
        h.ensure(two == (one & (successor(current, CAPACITY) != limit)))
        # Cycles that a doorbell waits, apart from those that a host write takes from it.
        waited = h.signal(range(2 * fifos), "waited")
        if fifos == 1:
            delayed = words.driver.head | words.driver.tail
        else:
            overtakes = words.driver.coming_head & part.inside("waiting").bit_select(
                words.driver.coming_fifo, 1
            )
            delayed = words.driver.coming_tail | overtakes
            last = part.inside("last")
            h.ensure(last < fifos)
            turns = Mux(last >= fifo, fifo + fifos - 1 - last, fifo - 1 - last)
            h.ensure(waited + turns < fifos)
        with h.m.If(~waiting | selected | words.clear):
            h.m.d.sync += waited.eq(0)
        with h.m.Elif(~delayed & ~waited.all()):
            h.m.d.sync += waited.eq(waited + 1)
        h.ensure(waited < fifos)
        # For the induction: the head on its way, and that a doorbell waits only for earlier ones.
        stages = [Cat(posted, known)]
        for age in range(2):
            stages.append(h.signal(len(stages[0]), f"stage_{age}"))
            h.m.d.sync += stages[-1].eq(Mux(words.clear, 0, stages[-2]))
        h.ensure(words.clear | ~stages[-1][-1] | (at_sample == stages[-1][:-1]))
        comes = words.driver.coming_head & (words.driver.coming_fifo == fifo)
        if fifos == 1:
            rung = h.register(rings, "rung")
            late = h.register(rung, "rung_before") & h.register(delayed, "delayed_before")
            h.ensure(~waiting | rung | late)
        else:
            h.ensure(~waiting | comes | (latest[1] == latest[0]))
        h.cover(samples & seen[-1] & (at_sample == CAPACITY - 1))
        h.cover(waiting & (waited == fifos - 1))

    return fill


PROOFS = tuple(
    Proof(
        property=f"doorbells-sample-the-head-{fifos}",
        statement="a doorbell samples the head that the host wrote before it, and no later "
        f"one, within {fifos} cycle{'s' * (fifos > 1)} in which no host write goes before it, "
        "unless the host resets the function or writes the tail after it; the queue has "
        "exactly the messages from tail to the head sampled last; any doorbells, any host and "
        f"any engine, {fifos} FIFO{'s' * (fifos > 1)}",
        source="patch series, vmsg_bus_amp_pci_process",
        module="hdl.queues.driver_queues",
        harness=doorbells_sample_the_head(fifos),
        depth=5,
        cover_depth=20 + cycles_to_clear(fifos),
        mutant=Mutant(
            module="hdl.queues.driver_queues",
            before=before,
            after=after,
            depth=20 + cycles_to_clear(fifos),
        ),
    )
    for fifos, before, after in (
        (1, "waiting & ~update.head & ~update.tail", "waiting & ~update.tail"),
        (3, "Mux(overtaken, update.coming_fifo, round_robin(waiting, last))", ROUND_ROBIN),
        (8, "kept = waiting[index] & ~Mux", "kept = (waiting[index] & ~overtaken) & ~Mux"),
    )
)
