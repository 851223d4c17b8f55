# SPDX-License-Identifier: BSD-2-Clause
"""Outstanding reads never request more completions than fit, and use all of the space."""

import random
from collections import deque

import pytest
from simulation import simulate

from hdl.dma.completion_room import CompletionRoom

TAGS = 8
BLOCK = 512


@pytest.mark.parametrize("headers", [8, 20, 36])
@pytest.mark.parametrize("longest", [1, 64, 200, BLOCK])
@pytest.mark.parametrize("begins, ends", [(1, 0.2), (0.5, 0.5), (1, 1)])
def test_reads_fit_the_receive_buffer(headers, longest, begins, ends):
    dut = CompletionRoom(headers, tags=TAGS)
    rng = random.Random(headers + longest)
    outstanding = deque()
    fullest = 0

    async def bench(ctx):
        nonlocal fullest
        newest = oldest = 0
        for _ in range(400):
            needed = sum(outstanding)
            fullest = max(fullest, needed)
            # The next read may have any length.
            assert ctx.get(dut.has_space) == (needed + 8 <= headers)
            takes = bool(outstanding) and rng.random() < ends
            allocates = ctx.get(dut.has_space) and len(outstanding) < TAGS and rng.random() < begins
            first = rng.randrange(BLOCK)
            last = min(first + rng.randrange(longest), BLOCK - 1)
            ctx.set(dut.allocate, allocates)
            ctx.set(dut.tag, newest % TAGS)
            ctx.set(dut.first_offset, first)
            ctx.set(dut.last_offset, last)
            ctx.set(dut.take, takes)
            ctx.set(dut.taken_tag, oldest % TAGS)
            if takes:
                outstanding.popleft()
                oldest += 1
            if allocates:
                outstanding.append(last // 64 - first // 64 + 1)
                newest += 1
            await ctx.tick()

    simulate(dut, bench)
    assert 0 < fullest <= headers
