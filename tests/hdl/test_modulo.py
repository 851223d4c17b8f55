# SPDX-License-Identifier: BSD-2-Clause
"""Index arithmetic: ``IndexModulo`` computes ``%`` for every capacity, neighbours wrap."""

import random

import pytest
from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator
from simulation import simulate

from hdl.queues.modulo import IndexModulo, index_width, predecessor, second_predecessor, successor

CAPACITIES = [2, 7, 31, 32, 61, 62, 63, 64, 100, 4096, 65535]


@pytest.mark.parametrize(
    "capacity",
    [
        *CAPACITIES,
        pytest.param(3, marks=pytest.mark.regress(reason="its 31 weights take half a minute")),
    ],
)
def test_remainder_and_range_check(capacity):
    rng = random.Random(capacity)
    edges = [0, capacity - 1, capacity, capacity + 1, 2**31, 2**32 - 2, 2**32 - 1]
    multiples = [capacity * rng.randrange(2**32 // capacity) + d for d in (0, 1) for _ in range(25)]
    values = edges + multiples + [rng.getrandbits(32) for _ in range(100)]
    dut = IndexModulo(capacity)

    async def bench(ctx):
        for value in values:
            ctx.set(dut.value, value)
            await ctx.tick()
            assert ctx.get(dut.remainder) == value % capacity, value
            assert ctx.get(dut.out_of_range) == (value >= capacity), value

    simulate(dut, bench)


@pytest.mark.parametrize("capacity", [3, *CAPACITIES[:9]])
def test_successor_and_predecessor_wrap(capacity):
    module = Module()
    index = Signal(index_width(capacity))
    after = Signal.like(index)
    before = Signal.like(index)
    second_before = Signal.like(index)
    module.d.comb += [
        after.eq(successor(index, capacity)),
        before.eq(predecessor(index, capacity)),
        second_before.eq(second_predecessor(index, capacity)),
    ]

    async def bench(ctx):
        for value in range(capacity):
            ctx.set(index, value)
            assert ctx.get(after) == (value + 1) % capacity
            assert ctx.get(before) == (value - 1) % capacity
            assert ctx.get(second_before) == (value - 2) % capacity

    simulator = Simulator(module)
    simulator.add_testbench(bench)
    simulator.run()


def test_capacity_is_checked():
    with pytest.raises(ValueError, match="capacity is 1: must be 2 to 65536"):
        IndexModulo(1)
