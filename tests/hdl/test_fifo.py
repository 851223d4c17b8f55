# SPDX-License-Identifier: BSD-2-Clause
"""FIFOs keep every word in order, hold ``depth`` words, and accept one per cycle."""

import random

import pytest
from simulation import simulate
from streams import Bench

from hdl.fifo import DISTRIBUTED_DEPTH, RingPlaces, StreamFifo

DEPTHS = [2, 8, 16, 32, 64]
COUNT = 400


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("idle, stall", [(0, 0), (0.5, 0), (0, 0.5), (0.3, 0.3), (0.9, 0.1)])
def test_words_come_out_in_order(depth, idle, stall):
    dut = StreamFifo(16, depth=depth)
    rng = random.Random(depth)
    received = []
    cycles = 0

    async def source(ctx):
        for number in range(COUNT):
            while rng.random() < idle:
                await ctx.tick()
            ctx.set(dut.i.payload, number)
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
            ctx.set(dut.i.valid, 0)

    async def sink(ctx):
        nonlocal cycles
        pending = None
        while len(received) < COUNT:
            ready = rng.random() >= stall
            ctx.set(dut.o.ready, ready)
            _, _, valid, value = await ctx.tick().sample(dut.o.valid, dut.o.payload)
            cycles += 1
            assert cycles < 100 * COUNT, "words are lost"
            if pending is not None:
                assert valid and value == pending, "a valid word changed before it was accepted"
            pending = value if valid and not ready else None
            if valid and ready:
                received.append(value)

    simulate(dut, source, sink)
    assert received == list(range(COUNT))
    if not idle and not stall and depth > 2:
        assert cycles <= COUNT + 4


@pytest.mark.parametrize("depth", DEPTHS)
def test_ready_and_half_empty_follow_the_level(depth):
    """The output stalls, so that the memory fills word by word behind it."""
    dut = StreamFifo(16, depth=depth)

    async def bench(ctx):
        async def put():
            assert ctx.get(dut.i.ready)
            ctx.set(dut.i.valid, 1)
            await ctx.tick()
            ctx.set(dut.i.valid, 0)
            await ctx.tick().repeat(3)

        for _ in range(1 if depth <= DISTRIBUTED_DEPTH else 2):
            await put()
        for level in range(depth):
            assert ctx.get(dut.half_empty) == (level < depth // 2), level
            await put()
        assert not ctx.get(dut.i.ready) and not ctx.get(dut.half_empty)

    simulate(dut, bench)


@pytest.mark.parametrize("depth", [0, 1, 3, 12])
def test_depth_is_checked(depth):
    with pytest.raises(ValueError, match=f"depth is {depth}: must be a power of two of 2 or more"):
        StreamFifo(8, depth=depth)


@pytest.mark.parametrize("depth", [2, 4, 16])
def test_places_of_a_ring(depth):
    """As of a list: items enter unless it is full, and leave unless it is empty."""
    dut = RingPlaces(depth)
    bench = Bench(dut, depth)
    places, levels = [], set()
    entered = 0

    async def run(ctx):
        nonlocal entered
        while True:
            push = len(places) < depth and not bench.ended and not bench.idles()
            pop = bool(places) and not bench.stalls()
            ctx.set(dut.push, push)
            ctx.set(dut.pop, pop)
            levels.add(len(places))
            assert ctx.get(dut.level) == len(places)
            assert ctx.get(dut.has_item) == bool(places)
            assert ctx.get(dut.next_place) == entered % depth
            assert ctx.get(dut.empties) == (len(places) == pop)
            if places:
                assert ctx.get(dut.oldest_place) == places[0]
            if push:
                places.append(entered % depth)
                entered += 1
            if pop:
                places.pop(0)
            await ctx.tick()

    bench.process(run)
    bench.run()
    assert entered > 100
    assert levels == set(range(depth + 1))


def test_places_of_a_ring_are_a_power_of_two():
    with pytest.raises(ValueError, match="depth is 6: must be a power of two of 2 or more"):
        RingPlaces(6)
