# SPDX-License-Identifier: BSD-2-Clause
"""The driver queues: each doorbell samples the head before it, whatever the host writes next."""

import pytest
from index_host import (
    QUEUES,
    IndexHost,
    check_view,
    queue_geometry,
    queue_id,
    read_slot,
    slot_at,
)
from queue_models import DriverModel
from simulation import simulate
from streams import Bench

from hdl.queues.driver_queues import DriverQueues
from models.layout import SPSC_PAGES


class DriverSide:
    """The host, and an engine that takes messages in any cycle.

    Attributes
    ----------
    taken : int
        Messages that the engine took.
    resets : int
        Resets so far.
    """

    def __init__(self, bench, g, *, tails=0.1):
        self._bench, self._g, self._tails = bench, g, tails
        self._capacity = g.layout.queue.capacity
        self.model = DriverModel(g.num_fifos, self._capacity)
        dut = bench.dut
        self._host = IndexHost(dut.update, dut.clear, g, "tail", bench.rng)
        # What the host reads back: None for what it wrote, else the index of the engine.
        self._views = [None] * g.num_fifos
        self.taken = self.resets = 0
        bench.process(self._run)

    def _access(self):
        """A host write, and the FIFOs of doorbells."""
        rng, n = self._bench.rng, self._g.num_fifos
        if self._bench.ended or self._bench.idles():
            return None, []
        choice = rng.random()
        if choice < 0.4:
            return None, rng.sample(range(n), rng.choice([1, 1, rng.randint(1, n)]))
        fifo = rng.randrange(n)
        if choice < 0.4 + self._tails:
            return ("tail", fifo, rng.randrange(self._capacity)), []
        near = self.model.tails[fifo] + rng.choice([0, 1, 1, 2, 3, rng.randrange(self._capacity)])
        return ("head", fifo, near % self._capacity), []

    async def _run(self, ctx):
        bench, g, host, model = self._bench, self._g, self._host, self.model
        dut, rng, n = bench.dut, bench.rng, g.num_fifos
        engine = dut.engine
        advanced = {}
        while True:
            now = bench.cycle
            reset = not bench.ended and rng.random() < 0.005
            write, doorbells = self._access()
            if not host.may_write:
                write = None
            host.start(ctx, reset=reset)
            ctx.set(dut.doorbell, sum(1 << fifo for fifo in doorbells))

            has_one, has_two = ctx.get(engine.has_one), ctx.get(engine.has_two)
            model.check(now, has_one, has_two)
            fifo = rng.choice([each for each in range(n) if has_one >> each & 1] or range(n))
            if not bench.ended:
                fifo = rng.choice([fifo, rng.randrange(n)])
            ctx.set(engine.advance_fifo, fifo)
            begins = rng.randrange(n)
            ctx.set(engine.fifo, begins)
            if not host.clears:
                assert read_slot(ctx, engine.slot) == slot_at(g, model.tails[begins])
            rewritten = host.lands is not None and host.lands[0] == "tail"
            assert ctx.get(engine.hold) == rewritten
            assert ctx.get(engine.rewritten) == (rewritten and host.lands[1] == fifo)
            advances = bool(has_one >> fifo & 1) and not rewritten and not bench.stalls()
            # The engine is being reset too.
            advances &= not host.clears
            after = (model.tails[fifo] + 1) % self._capacity
            ctx.set(engine.advance, advances)
            ctx.set(engine.next_index, after if advances else rng.randrange(self._capacity))
            if rewritten and host.lands[1] < n:
                self._views[host.lands[1]] = None
                advanced.pop(host.lands[1], None)
            check_view(ctx, self._bench, self._views)

            for fifo_before, index in advanced.items():
                self._views[fifo_before] = index
            advanced = {fifo: after} if advances else {}
            if advances:
                model.advance(fifo)
                self.taken += 1
            self._follow(now, write, doorbells, reset)
            host.end(write, reset=reset)
            await ctx.tick()

    def _follow(self, now, write, doorbells, reset):
        """What the events of this cycle mean for the messages."""
        host, model = self._host, self.model
        # A doorbell is sampled two cycles before the engine sees it; with one FIFO, one cycle.
        if self._g.num_fifos > 1:
            if host.coming is None:
                model.select(now, 2)
        elif host.lands is None:
            model.select(now, 1)
        if host.lands is not None and host.lands[0] == "tail" and host.lands[1] < len(model.tails):
            model.rewrite(*host.lands[1:], now - 2)
        if write is not None and write[0] == "head":
            model.write_head(*write[1:])
        for fifo in doorbells:
            model.ring(fifo, now)
        if reset:
            model.clear()
            self.resets += 1
        elif host.clears:
            model.forget()


@pytest.mark.parametrize("tails", [0.02, 0.3])
@pytest.mark.parametrize("fifos, layout", QUEUES, ids=queue_id)
def test_doorbells_sample_the_heads_before_them(fifos, layout, tails):
    g = queue_geometry(fifos, layout)
    bench = Bench(DriverQueues(g), fifos, layout.name, tails, period=80)
    side = DriverSide(bench, g, tails=tails)
    bench.run(drain=fifos * layout.queue.capacity + 30)
    assert side.model.settled()
    assert side.taken > 5
    # The engine has taken every message, and none beyond the last doorbell.
    for head, tail in zip(side.model.heads(), side.model.tails, strict=True):
        assert head in (None, tail)


async def _until_cleared(ctx, dut, g, rng):
    host = IndexHost(dut.update, dut.clear, g, "tail", rng)
    while host.clears:
        host.start(ctx, reset=False)
        host.end(None, reset=False)
        await ctx.tick()
    return host


@pytest.mark.parametrize("fifos", [1, 3, 8])
def test_doorbells_that_come_together_are_served_one_per_cycle(fifos):
    """The heads of all FIFOs are written again behind the doorbells, and rewound."""
    g = queue_geometry(fifos, SPSC_PAGES)
    dut = DriverQueues(g)
    rng = Bench(dut, fifos).rng

    async def bench(ctx):
        host = await _until_cleared(ctx, dut, g, rng)
        order = rng.sample(range(fifos), fifos)
        writes = [("head", fifo, fifo + 1) for fifo in order]
        rewound = [("head", fifo, 0) for fifo in reversed(order)]
        seen = {}
        for cycle, write in enumerate([*writes, None, *rewound, *[None] * 4]):
            host.start(ctx, reset=False)
            ctx.set(dut.doorbell, ((1 << fifos) - 1) * (cycle == fifos))
            for fifo in range(fifos):
                if ctx.get(dut.engine.has_one) >> fifo & 1:
                    seen.setdefault(fifo, cycle - fifos)
            host.end(write, reset=False)
            await ctx.tick()
        # The last head was written in the cycle before the doorbells, which delays a single one.
        assert sorted(seen.values()) == list(range(3, 3 + fifos))
        assert ctx.get(dut.engine.has_two) == (1 << fifos) - 2

    simulate(dut, bench)


@pytest.mark.parametrize("fifos, latency", [(1, 2), (2, 3), (8, 3)])
def test_one_doorbell_takes_effect_at_once(fifos, latency):
    g = queue_geometry(fifos, SPSC_PAGES)
    dut = DriverQueues(g)
    rng = Bench(dut, fifos).rng

    async def bench(ctx):
        host = await _until_cleared(ctx, dut, g, rng)
        for fifo in rng.sample(range(fifos), fifos):
            for cycle in range(3 + latency):
                host.start(ctx, reset=False)
                host.end(("head", fifo, 1) if cycle == 0 else None, reset=False)
                ctx.set(dut.doorbell, (1 << fifo) * (cycle == 3))
                assert not ctx.get(dut.engine.has_one) >> fifo & 1
                await ctx.tick()
            ctx.set(dut.doorbell, 0)
            assert ctx.get(dut.engine.has_one) >> fifo & 1

    simulate(dut, bench)


@pytest.mark.parametrize("fifos", [3, 8])
def test_storm_of_one_fifo_does_not_starve_the_others(fifos):
    """The host rings all FIFOs in every other cycle, and writes the head of one in between."""
    g = queue_geometry(fifos, SPSC_PAGES)
    dut = DriverQueues(g)
    rng = Bench(dut, fifos).rng

    async def bench(ctx):
        host = await _until_cleared(ctx, dut, g, rng)
        for fifo in range(fifos):
            host.start(ctx, reset=False)
            host.end(("head", fifo, 1), reset=False)
            await ctx.tick()
        for cycle in range(4 * fifos):
            host.start(ctx, reset=False)
            rings = cycle % 2 == 0
            ctx.set(dut.doorbell, ((1 << fifos) - 1) * rings)
            host.end(None if rings else ("head", 0, 1 + cycle % 3), reset=False)
            await ctx.tick()
        assert ctx.get(dut.engine.has_one) == (1 << fifos) - 1

    simulate(dut, bench)
