# SPDX-License-Identifier: BSD-2-Clause
"""The completion timer: the oldest read expires after the timeout, and little later."""

import pytest
from simulation import simulate
from streams import seeded

from hdl.dma.completion_timer import CompletionTimer
from hdl.dma.limits import TAGS

LATE = 0.05
"""The timeout is counted in steps of two per cent, the first of which may be short."""


@pytest.mark.parametrize("timeout", [64, 100, 200])
def test_oldest_read_expires(timeout):
    dut = CompletionTimer(timeout)
    rng = seeded(timeout)
    expirations = 0

    async def bench(ctx):
        nonlocal expirations
        # Cycle in which each outstanding read was sent, by tag, from the oldest on.
        reads = []
        outstanding = 0
        tag = old_tag = 0
        timed_from = 0
        for now in range(2500):
            sends = len(reads) < TAGS and rng.random() < 0.02
            ctx.set(dut.sent, sends)
            ctx.set(dut.sent_tag, tag)
            ctx.set(dut.old_tag, old_tag)
            ctx.set(dut.outstanding, outstanding)
            disable = now % 1000 > 700
            ctx.set(dut.disable, disable)
            expired = ctx.get(dut.expired)
            # The oldest read is answered or given up.
            ends = bool(reads) and (expired or rng.random() < 0.004)
            ctx.set(dut.changes, ends)
            if disable:
                timed_from = now
            if expired:
                assert reads, "nothing is outstanding"
                assert not disable, "the timeout is disabled"
                assert now - reads[0] >= timeout, "too early"
                expirations += 1
            elif reads:
                # Later than `timeout` only while another read is the oldest, or it is disabled.
                since = max(reads[0], timed_from)
                assert now - since <= timeout * (1 + LATE) + 8, "too late"
            if ends:
                reads.pop(0)
                outstanding &= ~(1 << old_tag)
                old_tag = (old_tag + 1) % TAGS
                timed_from = now
            if sends:
                reads.append(now)
                outstanding |= 1 << tag
                tag = (tag + 1) % TAGS
            await ctx.tick()

    simulate(dut, bench)
    assert expirations
