# SPDX-License-Identifier: BSD-2-Clause
"""Function-level reset: the pulses that follow a request, and when the reset is done."""

import pytest
from simulation import simulate
from streams import seeded

from hdl.function_reset import FunctionReset
from models.config_space import SETTLING_CYCLES

LATEST = SETTLING_CYCLES + 6
"""Cycles from a request until a reset with nothing to wait for is done, with some to spare."""


@pytest.mark.parametrize("busy", [0, 0.1, 0.7])
@pytest.mark.parametrize("length", [1, 2, 10])
def test_reset_follows_the_request(busy, length):
    dut = FunctionReset()
    rng = seeded(busy, length)
    requests, waits = [], []
    seen = set()

    def requested(cycle):
        return cycle >= 0 and requests[cycle]

    async def bench(ctx):
        remaining = 0
        for now in range(600):
            remaining = max(remaining - 1, 0) or (rng.random() < 0.05) * rng.randint(1, length)
            is_busy, settled = rng.random() < busy, rng.random() >= busy
            ctx.set(dut.request, remaining > 0)
            ctx.set(dut.busy, is_busy)
            ctx.set(dut.settled, settled)
            requests.append(remaining > 0)

            assert ctx.get(dut.reset) == requested(now - 1)
            assert ctx.get(dut.push_reset) == (requested(now - 1) or requested(now - 2))
            assert ctx.get(dut.host_reset) == (requested(now - 2) and not requested(now - 3))
            done = ctx.get(dut.done)
            seen.add(done)
            if now:
                # `settled` shows the effect of `reset` after SETTLING_CYCLES, and `done` follows.
                recent = any(requested(now - age) for age in range(1, SETTLING_CYCLES + 3))
                assert not done or not (recent or waits[-1])
                older = any(requested(now - age) for age in range(1, LATEST))
                assert done or older or waits[-1]
            waits.append(is_busy or not settled)
            await ctx.tick()

    simulate(dut, bench)
    assert seen == {0, 1}
