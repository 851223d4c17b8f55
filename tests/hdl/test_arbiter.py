# SPDX-License-Identifier: BSD-2-Clause
"""The packet arbiter keeps TLPs whole, alternates between inputs, and honours priority."""

import random

import pytest
from amaranth.sim import Simulator

from hdl.arbiter import PacketArbiter
from hdl.tlp import raw_signature


def run(priority, packets, seed, stall=0.4, idle=0.3, cycles=None):
    """Drive ``packets``, a list of lengths for each input.

    Returns each beat sent as (input, beat, length), and appends its cycle to ``cycles``.
    """
    dut = PacketArbiter(raw_signature(64), count=len(packets), priority=priority)
    rng = random.Random(seed)
    sent = []
    total = sum(map(sum, packets))

    def source(port, lengths):
        async def bench(ctx):
            for length in lengths:
                for beat in range(length):
                    while beat == 0 and rng.random() < idle:
                        await ctx.tick()
                    ctx.set(dut.i[port].p.sop, beat == 0)
                    ctx.set(dut.i[port].p.eop, beat == length - 1)
                    ctx.set(dut.i[port].p.data, port << 32 | beat << 16 | length)
                    ctx.set(dut.i[port].valid, 1)
                    await ctx.tick().until(dut.i[port].ready)
                    ctx.set(dut.i[port].valid, 0)

        return bench

    async def sink(ctx):
        pending = None
        cycle = 0
        while len(sent) < total:
            ready = rng.random() >= stall
            ctx.set(dut.o.ready, ready)
            _, _, valid, data = await ctx.tick().sample(dut.o.valid, dut.o.p.data)
            cycle += 1
            if pending is not None:
                assert valid and data == pending, "a valid beat changed before it was accepted"
            pending = data if valid and not ready else None
            if valid and ready:
                sent.append((data >> 32, data >> 16 & 0xFFFF, data & 0xFFFF))
                if cycles is not None:
                    cycles.append(cycle)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    for port, lengths in enumerate(packets):
        simulator.add_testbench(source(port, lengths), background=True)
    simulator.add_testbench(sink)
    simulator.run()
    return sent


@pytest.mark.parametrize("seed", range(5))
def test_packets_stay_whole(seed):
    rng = random.Random(seed)
    packets = [[rng.randint(1, 5) for _ in range(30)] for _ in range(3)]
    sent = run(1, packets, seed)
    position = 0
    seen = [[], [], []]
    while position < len(sent):
        port, beat, length = sent[position]
        assert beat == 0
        assert sent[position : position + length] == [(port, b, length) for b in range(length)]
        seen[port].append(length)
        position += length
    assert seen == packets


def test_inputs_alternate():
    sent = run(0, [[2] * 20, [2] * 20], 0, stall=0, idle=0)
    order = [port for port, beat, _ in sent if beat == 0]
    assert order == [0, 1] * 20


@pytest.mark.parametrize("length", [1, 2])
def test_idle_inputs_are_skipped_without_a_lost_cycle(length):
    cycles = []
    packets = [[length], [length] * 6, [], [length] * 6]
    sent = run(0, packets, 0, stall=0, idle=0, cycles=cycles)
    order = [port for port, beat, _ in sent if beat == 0]
    assert order == [0] + [1, 3] * 6
    assert cycles == list(range(cycles[0], cycles[0] + len(sent)))


def test_priority_input_goes_first():
    sent = run(1, [[1] * 10, [1] * 10], 0, stall=0, idle=0)
    order = [port for port, _, _ in sent]
    assert order == [0] * 10 + [1] * 10


def test_parameters_are_checked():
    with pytest.raises(ValueError, match="count is 0, priority is 0"):
        PacketArbiter(raw_signature(64), count=0)
    with pytest.raises(ValueError, match="parked is 2: must be 0 to 1"):
        PacketArbiter(raw_signature(64), count=2, parked=2)
