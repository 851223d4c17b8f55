# SPDX-License-Identifier: BSD-2-Clause
"""Random reads and writes of host memory by cocotbext-axi's manager, compared with a copy.

The tests vary payload size, read completion boundary, splits, latencies and pauses; the builds vary
the width. Random latencies reorder the completions.
"""

import random

import cocotb

from testbench.host.read_completions import Split
from testbench.stream import pacing
from tests.regressions.dma_host import (
    ABOVE_4G,
    SEED,
    DmaBench,
    Region,
    channel_pauses,
    slow_latencies,
)

TASKS = 4
PAGES = 3


async def use_memory(bench, region, rng, accesses):
    """Run one task of the device side on a region of its own."""
    longest = rng.choice([512, 4096, 5000])
    for _ in range(accesses):
        offset, size = region.span(rng, longest)
        address = region.address + offset
        if rng.random() < 0.5:
            data = rng.randbytes(size)
            await bench.dma.write(address, data)
            region.bytes[offset : offset + size] = data
        else:
            got = await bench.dma.read(address, size)
            assert got == region.bytes[offset : offset + size], f"read of {size} at {address:#x}"


async def run_tasks(bench, rng, *, accesses):
    """Run concurrent tasks, then check all memory and the byte counts."""
    await bench.start()
    regions = [
        Region(bench.host.memory, 4096 * PAGES, rng, base=ABOVE_4G if task % 2 else None)
        for task in range(TASKS)
    ]
    for region in regions:
        await region.fill()
    seeds = [rng.getrandbits(32) for _ in regions]
    tasks = [
        cocotb.start_soon(use_memory(bench, region, random.Random(seed), accesses))
        for region, seed in zip(regions, seeds, strict=True)
    ]
    for task in tasks:
        await task
    await bench.settle()
    for region in regions:
        await region.check()

    memory, statistics = bench.host.memory, bench.dma.statistics
    assert memory.traffic.write_bytes == statistics.bytes_written
    assert memory.traffic.read_bytes >= statistics.bytes_read > 0
    assert not memory.outstanding and not memory.refused_reads and not memory.refused_writes
    assert bench.dma_errors() == bench.unexpected_completions() == 0
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(payload=[128, 256, 512], boundary=[64, 128])
async def payload_sizes_and_boundaries(dut, payload, boundary):
    """Each payload size and boundary; the host answers late, in pieces, and out of order."""
    rng = random.Random(SEED + payload + boundary)
    bench = DmaBench(
        dut,
        max_payload_size=payload,
        max_read_request_size=rng.choice([128, 256, 512, 4096]),
        memory_options={
            "latency": slow_latencies(rng),
            "split": Split.RANDOM,
            "read_completion_boundary": boundary,
            "seed": rng.getrandbits(32),
        },
    )
    await run_tasks(bench, rng, accesses=12)


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def immediate_answers(dut):
    """The host answers at once with the fewest completions."""
    rng = random.Random(SEED)
    bench = DmaBench(dut, max_payload_size=1024, max_read_request_size=1024)
    await run_tasks(bench, rng, accesses=20)


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def pauses_on_every_channel(dut):
    """Pauses on every channel and stream, narrow beats and short bursts."""
    rng = random.Random(SEED)
    bench = DmaBench(
        dut,
        host_idle=pacing.randomly(rng.getrandbits(32), 0.2),
        host_stall=pacing.randomly(rng.getrandbits(32), 0.4),
        memory_options={"latency": slow_latencies(rng, tail=0.3), "split": Split.SMALLEST},
        dma_options={
            "pauses": channel_pauses(rng),
            "beat_bytes": rng.choice([4, 8]),
            "burst_beats": rng.choice([3, 16, 256]),
        },
    )
    if bench.parameters.top == "core":
        sinks = bench.host.sinks
        sinks["tx_wr_req_tlp"].set_stall(pacing.randomly(rng.getrandbits(32), 0.5))
        sinks["tx_rd_req_tlp"].set_stall(pacing.randomly(rng.getrandbits(32), 0.5))
    await run_tasks(bench, rng, accesses=12)
