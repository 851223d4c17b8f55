# SPDX-License-Identifier: BSD-2-Clause
"""Reads under way ask for no more completions than there is room for, and use what there is."""

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
def test_reads_keep_to_the_room(headers, longest, begins, ends):
    dut = CompletionRoom(headers, tags=TAGS)
    rng = random.Random(headers + longest)
    under_way = deque()
    fullest = 0

    async def bench(ctx):
        nonlocal fullest
        newest = oldest = 0
        for _ in range(400):
            needed = sum(under_way)
            fullest = max(fullest, needed)
            # However long the next one is.
            assert ctx.get(dut.room) == (needed + 8 <= headers)
            takes = bool(under_way) and rng.random() < ends
            allocates = ctx.get(dut.room) and len(under_way) < TAGS and rng.random() < begins
            first = rng.randrange(BLOCK)
            last = min(first + rng.randrange(longest), BLOCK - 1)
            ctx.set(dut.allocate, allocates)
            ctx.set(dut.tag, newest % TAGS)
            ctx.set(dut.first, first)
            ctx.set(dut.last, last)
            ctx.set(dut.take, takes)
            ctx.set(dut.taken_tag, oldest % TAGS)
            if takes:
                under_way.popleft()
                oldest += 1
            if allocates:
                under_way.append(last // 64 - first // 64 + 1)
                newest += 1
            await ctx.tick()

    simulate(dut, bench)
    assert 0 < fullest <= headers
