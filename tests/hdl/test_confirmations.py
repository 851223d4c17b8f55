# SPDX-License-Identifier: BSD-2-Clause
"""TLPs that a hard block holds: marks come back in order, and no more go than it may hold."""

import random
from collections import deque

import pytest
from amaranth.sim import Simulator

from hdl.dma.confirmations import CONFIRMATIONS, ConfirmationQueue, ConfirmationSerializer


@pytest.mark.parametrize("depth", [2, 8])
@pytest.mark.parametrize("taken, confirmed", [(0.9, 0.2), (0.5, 0.5), (0.2, 0.9), (0.95, 0.9)])
def test_marks_come_back_in_order(depth, taken, confirmed):
    dut = ConfirmationQueue(depth)
    rng = random.Random(depth)
    held = deque()
    seen = set()

    async def bench(ctx):
        for _ in range(400):
            assert ctx.get(dut.room) == (len(held) < depth)
            assert ctx.get(dut.empty) == (not held)
            takes = len(held) < depth and rng.random() < taken
            confirms = rng.random() < confirmed
            mark = rng.getrandbits(1)
            ctx.set(dut.taken, takes)
            ctx.set(dut.mark, mark)
            # One that comes where nothing is held, as from a block that counts wrongly, is ignored.
            ctx.set(dut.confirmed, confirms)
            leaves = held.popleft() if held and confirms else 0
            assert ctx.get(dut.marked) == leaves
            if takes:
                held.append(mark)
            seen.add(len(held))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert len(seen) > 1


@pytest.mark.parametrize("depth", [0, 1, 3, 33])
def test_depth_is_checked(depth):
    with pytest.raises(ValueError, match=f"depth is {depth}: must be a power of two of 2 or more"):
        ConfirmationQueue(depth)


@pytest.mark.parametrize("ports", [1, 2, 3])
@pytest.mark.parametrize("busy", [0.1, 0.5, 0.9])
def test_each_confirmation_has_its_cycle(ports, busy):
    dut = ConfirmationSerializer(ports)
    rng = random.Random(ports)
    seen = []

    async def bench(ctx):
        owed = 0
        for _ in range(400):
            pulses = sum((rng.random() < busy) << port for port in range(ports))
            if owed + pulses.bit_count() > CONFIRMATIONS:
                pulses = 0
            ctx.set(dut.i, pulses)
            owed += pulses.bit_count()
            assert ctx.get(dut.o) == (owed > 0)
            owed -= owed > 0
            seen.append(owed)
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert max(seen) == 0 if ports == 1 else max(seen) > 0


def test_ports_are_checked():
    with pytest.raises(ValueError, match="ports is 0: must be 1 or more"):
        ConfirmationSerializer(0)
