# SPDX-License-Identifier: BSD-2-Clause
"""Items from before a setting fell are tracked until the last of them has departed."""

from collections import deque

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import stream
from simulation import simulate
from streams import seeded

from hdl.departures import DepartureTracker, former_beat

CYCLES = 500


@pytest.mark.parametrize("most", [1, 4, 30])
@pytest.mark.parametrize("plans, departs", [(0.9, 0.3), (0.5, 0.5), (0.3, 0.9)])
def test_former_while_an_item_from_before_is_inside(most, plans, departs):
    dut = DepartureTracker(most)
    rng = seeded(most, plans)
    seen = set()

    async def bench(ctx):
        # For each item inside, whether a setting fell since it entered.
        inside = deque()
        for _ in range(CYCLES):
            former = ctx.get(dut.former)
            assert former == any(inside)
            seen.add(former)
            leaves = bool(inside) and rng.random() < departs
            enters = len(inside) < most and rng.random() < plans
            fell = rng.random() < 0.1
            ctx.set(dut.planned, enters)
            ctx.set(dut.departed, leaves)
            ctx.set(dut.fell, fell)
            if leaves:
                inside.popleft()
            if enters:
                inside.append(False)
            if fell:
                inside = deque([True] * len(inside))
            await ctx.tick()

    simulate(dut, bench)
    assert seen == {0, 1}


@pytest.mark.parametrize("stall", [0.2, 0.8])
def test_former_beat(stall):
    """A beat is former from the cycle on in which a setting falls, until it is accepted."""
    m = Module()
    source = stream.Signature(8).create()
    fell = Signal()
    former = former_beat(m, source, fell)
    rng = seeded(stall)
    seen = set()

    async def bench(ctx):
        valid = fallen = False
        for _ in range(CYCLES):
            if not valid:
                valid, fallen = rng.random() < 0.7, False
            falls, ready = rng.random() < 0.2, rng.random() >= stall
            ctx.set(source.valid, valid)
            ctx.set(source.ready, ready)
            ctx.set(fell, falls)
            fallen = fallen or falls
            assert ctx.get(former) == (valid and fallen)
            seen.add((valid, fallen))
            if ready:
                valid = False
            await ctx.tick()

    simulate(m, bench)
    assert len(seen) == 4


def test_number_of_items_is_checked():
    with pytest.raises(ValueError, match="most is 0: must be 1 or more"):
        DepartureTracker(0)
