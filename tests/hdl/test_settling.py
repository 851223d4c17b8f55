# SPDX-License-Identifier: BSD-2-Clause
"""A shim is settled when the packets made under former settings have left it and the core."""

import random
from collections import deque

import pytest
from simulation import simulate

from hdl.shims.settling import ShimSettling

MAX_PACKETS = 4


@pytest.mark.parametrize("stall", [0, 0.5, 0.9])
@pytest.mark.parametrize("changes", [0.02, 0.1])
@pytest.mark.parametrize("by_reset", [False, True])
def test_settled_is_low_until_former_packets_have_left(stall, changes, by_reset):
    dut = ShimSettling(3, max_packets=MAX_PACKETS)
    rng = random.Random(5)
    seen = {True: 0, False: 0}

    async def bench(ctx):
        # Cycle in which each packet inside entered.
        inside = deque()
        changed = -1
        settings = 0
        for cycle in range(3000):
            changes_now = rng.random() < changes
            if changes_now and not by_reset:
                settings ^= rng.randrange(1, 8)
            if changes_now:
                changed = cycle
            ctx.set(dut.settings, settings)
            ctx.set(dut.reset, changes_now and by_reset)
            core_settled = rng.random() < 0.9
            ctx.set(dut.core_settled, core_settled)
            departs = bool(inside) and rng.random() >= stall
            enters = len(inside) < MAX_PACKETS and rng.random() < 0.5
            ctx.set(dut.departed, departs)
            ctx.set(dut.entered, enters)
            # A packet that entered before the change, or with it, has not left.
            is_former = any(entered <= changed < cycle for entered in inside)
            assert ctx.get(dut.former) or not is_former
            assert ctx.get(dut.settled) == (core_settled and not ctx.get(dut.former))
            seen[bool(ctx.get(dut.settled))] += 1
            if departs:
                inside.popleft()
            if enters:
                inside.append(cycle)
            await ctx.tick()
            # Without packets none is former.
            if not inside:
                assert not ctx.get(dut.former)

    simulate(dut, bench)
    assert all(seen.values())
