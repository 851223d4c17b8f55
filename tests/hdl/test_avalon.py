# SPDX-License-Identifier: BSD-2-Clause
"""Ready latency: no word is lost, and a packet in progress does not pause."""

import random
from collections import deque

import pytest
from amaranth.lib import data
from simulation import simulate

from hdl.shims.avalon import PacketSender, ReceiveBuffer

COUNT = 250
LATENCY = 3
WORD = data.StructLayout({"number": 16, "last": 1})


@pytest.mark.parametrize("allowance", [1, 17, 18, 27])
@pytest.mark.parametrize("idle, stall", [(0, 0), (0, 0.5), (0.3, 0.3), (0, 0.9)])
def test_words_after_ready_fell_are_stored(allowance, idle, stall):
    dut = ReceiveBuffer(16, allowance=allowance)
    rng = random.Random(allowance)
    received = []

    async def block(ctx):
        # The block sees each value of ready `allowance` cycles late.
        delayed = deque([0] * allowance)
        sent = 0
        while sent < COUNT:
            sends = delayed.popleft() and rng.random() >= idle
            ctx.set(dut.valid, sends)
            ctx.set(dut.p, sent)
            sent += bool(sends)
            _, _, ready = await ctx.tick().sample(dut.ready)
            delayed.append(ready)
        ctx.set(dut.valid, 0)

    async def sink(ctx):
        cycles = 0
        while len(received) < COUNT:
            ready = rng.random() >= stall
            ctx.set(dut.o.ready, ready)
            _, _, valid, word = await ctx.tick().sample(dut.o.valid, dut.o.p)
            cycles += 1
            assert cycles < 100 * COUNT, "words are lost"
            if valid and ready:
                received.append(word)
        if not idle and not stall:
            assert cycles <= COUNT + allowance + 8

    simulate(dut, block, sink)
    assert received == list(range(COUNT))


@pytest.mark.parametrize("depth", [8, 32])
@pytest.mark.parametrize("idle, stall", [(0, 0), (0.5, 0), (0, 0.5), (0.3, 0.3), (0.9, 0.1)])
def test_packets_do_not_pause(depth, idle, stall):
    dut = PacketSender(WORD, depth=depth, latency=LATENCY)
    rng = random.Random(depth)
    words = []
    while len(words) < COUNT:
        length = rng.choice([1, 1, 2, 3, depth - 1, depth])
        words += [(len(words) + at, at == length - 1) for at in range(length)]
    received = []

    async def source(ctx):
        for number, last in words:
            while rng.random() < idle:
                await ctx.tick()
            ctx.set(dut.i.p.number, number)
            ctx.set(dut.i.p.last, last)
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
            ctx.set(dut.i.valid, 0)

    async def block(ctx):
        delayed = deque([0] * LATENCY)
        inside, cycles = False, 0
        while len(received) < len(words):
            delayed.append(rng.random() >= stall)
            ctx.set(dut.ready, delayed[-1])
            values = (dut.valid, dut.p.number, dut.p.last)
            _, _, valid, number, last = await ctx.tick().sample(*values)
            is_ready = delayed.popleft()
            cycles += 1
            assert cycles < 100 * COUNT, "words are lost"
            assert is_ready or not valid, "a word in a cycle that is not ready"
            assert valid or not (inside and is_ready), "a packet pauses"
            if valid:
                received.append((number, bool(last)))
                inside = not last
        if not idle and not stall and depth > 8:
            # Short packets after a long one leave without gaps.
            assert cycles <= 1.6 * len(words)

    simulate(dut, block, background=[source])
    assert received == words


def test_parameters_are_checked():
    with pytest.raises(ValueError, match="allowance is 0: must be 1 or more"):
        ReceiveBuffer(16, allowance=0)
    with pytest.raises(ValueError, match="latency is 1: must be 2 or more"):
        PacketSender(WORD, depth=8, latency=1)
    with pytest.raises(ValueError, match="depth is 6: must be a power of two"):
        PacketSender(WORD, depth=6, latency=3)
