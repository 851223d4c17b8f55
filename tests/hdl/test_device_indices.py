# SPDX-License-Identifier: BSD-2-Clause
"""The device queues: their free slots, while the host and the engine move indices."""

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
from queue_models import DeviceModel
from streams import Bench

from hdl.queues.device_queues import DeviceQueues


class DeviceSide:
    """The host, and an engine that fills a free slot in any cycle.

    Attributes
    ----------
    filled : int
        Slots that the engine filled.
    seen : set
        Values of ``has_space`` of a FIFO, with whether a slot of it was being filled.
    """

    def __init__(self, bench, g, *, heads=0.1):
        self._bench, self._g, self._heads = bench, g, heads
        self._capacity = g.layout.queue.capacity
        self.model = DeviceModel(g.num_fifos, self._capacity)
        dut = bench.dut
        self._host = IndexHost(dut.update, dut.clear, g, "head", bench.rng)
        self._views = [None] * g.num_fifos
        self.filled = 0
        self.seen = set()
        bench.process(self._run)

    def _access(self):
        rng, model = self._bench.rng, self.model
        if self._bench.ended or self._bench.idles():
            return None
        fifo = rng.randrange(self._g.num_fifos)
        if rng.random() < self._heads:
            return "head", fifo, rng.randrange(self._capacity)
        # Most writes take messages, some break the protocol.
        used = (model.heads[fifo] - model.tails[fifo]) % self._capacity
        steps = rng.choice([min(used, 1), used, rng.randrange(self._capacity)])
        return "tail", fifo, (model.tails[fifo] + steps) % self._capacity

    async def _run(self, ctx):
        bench, g, host, model = self._bench, self._g, self._host, self.model
        dut, rng, n = bench.dut, bench.rng, g.num_fifos
        engine = dut.engine
        advanced = {}
        has_space = None
        clears = True
        while True:
            reset = not bench.ended and rng.random() < 0.005
            write = self._access() if host.may_write else None
            host.start(ctx, reset=reset)
            # The slots are counted in the first cycle after `clear`.
            counts = clears and not host.clears
            clears = host.clears
            expected = model.expected()
            found = (ctx.get(engine.has_one), ctx.get(engine.has_two))
            assert found == expected
            self._check_bounds(*found)
            assert has_space in (None, ctx.get(dut.has_space))

            fifo = rng.randrange(n)
            ctx.set(engine.advance_fifo, fifo)
            begins = rng.randrange(n)
            ctx.set(engine.fifo, begins)
            if not host.clears:
                assert read_slot(ctx, engine.slot) == slot_at(g, model.heads[begins])
            lands = host.lands if host.lands is not None and host.lands[1] < n else None
            rewritten = host.lands is not None and host.lands[0] == "head"
            assert ctx.get(engine.hold) == rewritten
            assert ctx.get(engine.rewritten) == (rewritten and host.lands[1] == fifo)
            advances = bool(found[0] >> fifo & 1) and not rewritten and not bench.stalls()
            # The engine is being reset too.
            advances &= not host.clears
            after = (model.heads[fifo] + 1) % self._capacity
            filling = rng.choice([0, 1 << rng.randrange(n)])
            ctx.set(engine.advance, advances)
            ctx.set(engine.next_index, after if advances else rng.randrange(self._capacity))
            ctx.set(dut.filling, filling)
            has_space = self._space(*found, filling)
            if rewritten and lands:
                self._views[lands[1]] = None
                advanced.pop(lands[1], None)
            check_view(ctx, self._bench, self._views)
            for fifo_before, index in advanced.items():
                self._views[fifo_before] = index
            advanced = {fifo: after} if advances else {}

            self.filled += advances
            model.step(lands, fifo if advances else None)
            if host.clears:
                model.clear()
            elif counts:
                model.cleared()
            host.end(write, reset=reset)
            await ctx.tick()

    def _check_bounds(self, has_one, has_two):
        """No more slots than are free, except for the cycle after a tail that the host rewound."""
        for fifo in range(self._g.num_fifos):
            reported = (has_one >> fifo & 1) + (has_two >> fifo & 1)
            assert reported <= self.model.free(fifo) or self.model.uncounted(fifo)

    def _space(self, has_one, has_two, filling):
        """``has_space`` of the next cycle."""
        has_space = has_two & filling | has_one & ~filling
        for fifo in range(self._g.num_fifos):
            self.seen.add((filling >> fifo & 1, has_space >> fifo & 1))
        return has_space


@pytest.mark.parametrize("heads", [0.02, 0.3])
@pytest.mark.parametrize("fifos, layout", QUEUES, ids=queue_id)
def test_free_slots_follow_the_host_and_the_engine(fifos, layout, heads):
    g = queue_geometry(fifos, layout)
    bench = Bench(DeviceQueues(g), fifos, layout.name, heads, period=80)
    side = DeviceSide(bench, g, heads=heads)
    bench.run()
    assert side.filled > 5
    # A queue of two slots never has two free ones.
    beside = {0} if layout.queue.capacity == 2 else {0, 1}
    assert {space for filled, space in side.seen if filled} == beside
    assert {space for filled, space in side.seen if not filled} == {0, 1}
