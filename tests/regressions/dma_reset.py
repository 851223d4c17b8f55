# SPDX-License-Identifier: BSD-2-Clause
"""Resets with requests in flight: all get a response, none leaves, and no state remains."""

import random
from itertools import groupby

import cocotb

from models.config_space import INITIATE_FLR
from models.dma import DmaError
from testbench.host.read_completions import Split
from testbench.stream import pacing
from tests.regressions.dma_faults import use_every_tag
from tests.regressions.dma_host import SEED, DmaBench, Region, channel_pauses, slow_latencies

ROUNDS = 10
TASKS = 6
CYCLES_AROUND_AN_ACCESS = range(-8, 12)
LONG_LATENCY = {"shortest_ns": 200, "longest_ns": 1500, "tail": 0}


async def accesses(bench, region, rng, outcomes):
    """Issue accesses one after the other; count successes and failures."""
    while outcomes["going"]:
        offset, size = region.span(rng, 2000)
        if rng.random() < 0.5:
            access = bench.dma.read(region.address + offset, size)
        else:
            access = bench.dma.write(region.address + offset, rng.randbytes(size))
        if await succeeds(access):
            outcomes["well"] += 1
        else:
            outcomes["failed"] += 1
            # Pause: an immediate retry would fail as well.
            await bench.settle(20)


async def succeeds(access):
    """Whether an access succeeds."""
    try:
        await access
    except DmaError:
        return False
    return True


async def check_clean_state(bench, region):
    """Check that memory and window work as after power-up."""
    region.bytes[:] = bytes(range(256)) * (region.size // 256)
    await region.fill()
    await use_every_tag(bench, region)
    await bench.dma.write(region.address + 77, b"a new life")
    region.bytes[77:87] = b"a new life"
    await bench.settle(20)
    await region.check()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def function_level_reset(dut):
    """Reset at any time: answers to former reads are unexpected and have no effect."""
    rng = random.Random(SEED)
    bench = DmaBench(
        dut,
        max_payload_size=128,
        memory_options={"latency": slow_latencies(rng, **LONG_LATENCY), "split": Split.RANDOM},
        dma_options={"pauses": channel_pauses(rng, 0.2)},
        host_stall=pacing.randomly(rng.getrandbits(32), 0.2),
    )
    await bench.start()
    region = Region(bench.host.memory, 4 * 4096, rng)
    total = {"well": 0, "failed": 0}
    for _ in range(ROUNDS):
        outcomes = {"going": True, "well": 0, "failed": 0}
        tasks = [
            cocotb.start_soon(accesses(bench, region, random.Random(rng.getrandbits(32)), outcomes))
            for _ in range(TASKS)
        ]
        await bench.settle(rng.randint(20, 400))
        outcomes["going"] = False
        await bench.function_reset()
        for task in tasks:
            await task
        for key in total:
            total[key] += outcomes[key]
        # The host sends the answers that are still outstanding.
        while bench.host.memory.outstanding:
            await bench.settle(50)
        await check_clean_state(bench, region)
    assert min(total.values()) > 0, total
    assert bench.unexpected_completions() > 0
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def reset_in_each_cycle_of_an_access(dut):
    """In every state of a read and a write, a reset frees all tags and bursts."""
    rng = random.Random(SEED)
    bench = DmaBench(dut, max_payload_size=128)
    await bench.start()
    region = Region(bench.host.memory, 4096, rng)
    data = bytes(512)
    reads, writes = [], []

    async def attempt(access, cycles):
        await bench.settle(cycles)
        return await succeeds(access)

    for cycles in CYCLES_AROUND_AN_ACCESS:
        # One burst each, whatever the width: a second one would start after the reset.
        read, write = bench.dma.read(region.address, 512), bench.dma.write(region.address, data)
        delay = 1 + max(-cycles, 0)
        tasks = [cocotb.start_soon(attempt(access, delay)) for access in (read, write)]
        await bench.settle(1 + max(cycles, 0))
        await bench.function_reset()
        for outcomes, task in zip((reads, writes), tasks, strict=True):
            outcomes.append(await task)
        while bench.host.memory.outstanding:
            await bench.settle(50)
        await check_clean_state(bench, region)
    for outcomes in (reads, writes):
        # Accesses answered before the reset or accepted after it succeed; every one in between
        # fails.
        assert False in outcomes, "every access ended before its reset"
        assert len(list(groupby(outcomes))) <= 3, outcomes
    if bench.parameters.top == "core":
        # Both are accepted in the same cycle, and in the cycle of the reset both fail.
        assert reads.index(False) == writes.index(False)
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def function_level_reset_while_requests_stall(dut):
    """TLPs valid before the reset leave; requests that wait behind them do not."""
    rng = random.Random(SEED)
    bench = DmaBench(dut, max_payload_size=128)
    await bench.start()
    region = Region(bench.host.memory, 4096, rng)
    await region.fill()
    await bench.dma.read(region.address, 64)
    core = bench.parameters.top == "core"
    control = 0 if core else await bench.host.config_read(INITIATE_FLR.offset, 2)
    sinks = [bench.host.sink_of(bundle) for bundle in ("tx_rd_req_tlp", "tx_wr_req_tlp")]
    for sink in sinks:
        sink.pause()
    before = bench.monitor.traffic.reads, bench.monitor.traffic.writes
    tasks = [
        # One burst each, whatever the width: a second one would start after the reset.
        cocotb.start_soon(succeeds(bench.dma.read(region.address, 2048))),
        cocotb.start_soon(succeeds(bench.dma.write(region.address, bytes(2048)))),
    ]
    await bench.settle(100)
    if core:
        reset = cocotb.start_soon(bench.function_reset())
    else:
        value = control | INITIATE_FLR.mask
        reset = cocotb.start_soon(bench.host.config_write(INITIATE_FLR.offset, value, 2))
    await bench.settle(100)
    for sink in sinks:
        sink.resume()
    await reset
    await bench.settle()
    await bench.host.start()
    assert [await task for task in tasks] == [False, False]
    after = bench.monitor.traffic.reads, bench.monitor.traffic.writes
    # One read is valid at its output, one write at its own with another behind it; the endpoint
    # has one more register, shared by all.
    reads, writes = (now - then for now, then in zip(after, before, strict=True))
    extra_registers = 0 if core else 1
    assert (
        reads <= 1 + extra_registers
        and writes <= 2 + extra_registers
        and reads + writes <= 3 + extra_registers
    ), (
        reads,
        writes,
    )
    await check_clean_state(bench, region)
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def hot_reset(dut):
    """``rst`` with accesses in flight."""
    rng = random.Random(SEED)
    bench = DmaBench(
        dut,
        max_payload_size=128,
        memory_options={"latency": slow_latencies(rng, **LONG_LATENCY), "split": Split.RANDOM},
    )
    await bench.start()
    region = Region(bench.host.memory, 4 * 4096, rng)
    await region.fill()
    for _ in range(4):
        outcomes = {"going": True, "well": 0, "failed": 0}
        tasks = [
            cocotb.start_soon(accesses(bench, region, random.Random(rng.getrandbits(32)), outcomes))
            for _ in range(TASKS)
        ]
        await bench.settle(rng.randint(20, 300))
        outcomes["going"] = False
        await bench.reset()
        for task in tasks:
            await task
        assert bench.unexpected_completions() == bench.dma_errors() == 0
        await bench.host.start()
        await check_clean_state(bench, region)
    await bench.finish()
