# SPDX-License-Identifier: BSD-2-Clause
"""The fence: a slot waits for the writes before it, and for no later ones."""

import pytest
from simulation import simulate
from streams import seeded

from hdl.dma.limits import PENDING_WRITES
from hdl.queues.fence import SlotFence


@pytest.mark.parametrize("write", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("depart", [0.1, 0.5])
def test_slot_waits_for_the_writes_before_it(write, depart):
    dut = SlotFence()
    rng = seeded(write, depart)
    waits = []

    async def bench(ctx):
        # Write bursts in flight, each by the cycle in which its last beat was accepted.
        bursts = []
        awaited = None
        waiting = accepts = False
        for now in range(600):
            reported, accepts = accepts, rng.random() < write and len(bursts) < PENDING_WRITES
            counted = [accepted for accepted in bursts if accepted < now - 1]
            departs = bool(counted) and rng.random() < depart
            ctx.set(dut.writes.pending, len(counted))
            ctx.set(dut.writes.accepted, reported)
            ctx.set(dut.writes.departed, departs)

            waiting = waiting or rng.random() < 0.5
            if waiting:
                ctx.set(dut.due, 1)
                if awaited is None:
                    awaited = list(bursts)
                    waits.append(len(awaited))
                stall = ctx.get(dut.stall)
                assert stall == any(burst in bursts for burst in awaited)
                if not stall and rng.random() < 0.6:
                    waiting = False
                elif rng.random() < 0.02:
                    # A reset drops the slot.
                    waiting = False
            if not waiting:
                ctx.set(dut.due, 0)
                awaited = None
            if departs:
                bursts.pop(0)
            if accepts:
                bursts.append(now)
            await ctx.tick()

    simulate(dut, bench)
    assert len(set(waits)) > 1
