# SPDX-License-Identifier: BSD-2-Clause
"""The endpoint's part of DMA: one transmit stream shared by all TLPs, and configuration."""

import random
from itertools import repeat

import cocotb

from models import config_space as space
from testbench.host import faults
from testbench.host.faults import Fault
from testbench.stream import pacing
from testbench.tlp.packets import memory_read
from tests.regressions.dma_faults import (
    VICTIM,
    expect_slverr,
    fault_bench,
    prepare,
    read,
    victim_read,
)
from tests.regressions.dma_host import SEED, DmaBench, Region
from tests.regressions.queue_host import slot_bytes


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def completion_timeout_disabled(dut):
    """Device Control 2 disables the completion timeout."""
    rng = random.Random(SEED)
    bench = fault_bench(dut)
    region = await prepare(bench, rng)
    field = space.COMPLETION_TIMEOUT_DISABLE
    late = 4 * 3 * bench.parameters.completion_timeout
    await bench.host.config_write(field.offset, field.mask, 2)
    bench.host.memory.faults.append(Fault(faults.unchanged, victim_read(region), after_ns=late))
    await read(bench, region, VICTIM, 256)
    await bench.host.config_write(field.offset, 0, 2)
    bench.host.memory.faults.append(Fault(faults.no_completions(), victim_read(region)))
    await expect_slverr(bench.dma.read(region.address + VICTIM, 256))
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def no_request_leaves_in_d3hot(dut):
    """Bus mastering is off in D3hot: accesses fail, and interrupts stay pending until D0."""
    bench = DmaBench(dut)
    await bench.start()
    region = Region(bench.host.memory, 4096, random.Random(SEED))
    await region.fill()
    power, requests = space.POWER_STATE.offset, bench.monitor.requests
    await bench.host.config_write(power, space.POWER_D3HOT)
    await expect_slverr(bench.dma.read(region.address, 64))
    await expect_slverr(bench.dma.write(region.address, bytes(64)))
    await bench.source.send_message(0, slot_bytes(1))
    await bench.settle()
    assert bench.monitor.requests == requests
    await bench.host.config_write(power, space.POWER_D0)
    await bench.settle()
    assert bench.host.interrupts[0] == 1
    await read(bench, region, 0, 64)
    await region.check()
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def transactions_pending(dut):
    """Transactions Pending is set exactly while a read waits for the end of its answer."""
    rng = random.Random(SEED)
    bench = fault_bench(dut)
    region = await prepare(bench, rng)
    field = space.TRANSACTIONS_PENDING
    memory = bench.host.memory

    async def pending():
        return field.of(await bench.host.config_read(field.offset))

    assert not await pending()
    await bench.dma.write(region.address, bytes(64))
    region.bytes[:64] = bytes(64)
    assert not await pending()
    # A late answer, and one whose end is missing.
    late = (
        read(bench, region, VICTIM, 256),
        Fault(faults.unchanged, victim_read(region), after_ns=4000),
    )
    unfinished = expect_slverr(bench.dma.read(region.address + VICTIM, 256))
    for access, fault in (
        late,
        (unfinished, Fault(faults.no_completions(3), victim_read(region))),
    ):
        memory.faults.append(fault)
        task = cocotb.start_soon(access)
        await bench.settle(500)
        value = await bench.host.config_read(field.offset)
        assert field.of(value)
        # The bit is read-only.
        await bench.host.config_write(field.offset, value)
        assert await pending()
        await task
        assert not await pending()
    # Function-level reset does not wait for an answer.
    memory.faults.append(Fault(faults.no_completions(), victim_read(region)))
    task = cocotb.start_soon(expect_slverr(bench.dma.read(region.address + VICTIM, 256)))
    await bench.settle(50)
    assert await pending()
    await bench.function_reset()
    await task
    assert not await pending()
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def max_read_request_size_lowered_under_reads(dut):
    """Reads that wait for a tag are split again: the monitor checks the size of each request."""
    rng = random.Random(SEED)
    # A slow host, so that split reads wait for a tag.
    bench = DmaBench(dut, memory_options={"latency": repeat(2000.0)})
    await bench.start()
    region = Region(bench.host.memory, 24576, rng)
    await region.fill()
    field = space.MAX_READ_REQUEST_SIZE
    for round_number in range(4):
        task = cocotb.start_soon(read(bench, region, 0, 24576))
        await bench.settle(200 + round_number)
        control = await bench.host.config_read(field.offset, 2)
        for code in (0, 2):
            value = control & ~field.mask | code << field.lsb
            await bench.host.config_write(field.offset, value, 2)
            await bench.settle(300 * round_number)
        await task
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def transmit_stream_is_shared_fairly(dut):
    """Continuous reads, writes and completions share the transmit stream."""
    rng = random.Random(SEED)
    bench = DmaBench(dut, max_payload_size=128, max_read_request_size=128)
    await bench.start()
    region = Region(bench.host.memory, 8192, rng)
    await region.fill()
    await bench.dma.read(region.address, 4)
    stop = []

    async def repeat_access(access):
        while not stop:
            await access()

    async def bar_reads():
        host = bench.host
        pending = []
        for _ in range(24):
            pending.append(await host.requester.open(memory_read(host.bars[1] + 0x3000, 64)))
            host.send_nowait(pending[-1].request)
        for pending_read in pending:
            await pending_read.answers()

    # The link is slower than any of them alone.
    bench.host.sink.set_stall(pacing.every([2]))
    accesses = [
        lambda: bench.dma.read(region.address, 4096),
        lambda: bench.dma.write(region.address + 4096, bytes(4096)),
        bar_reads,
    ]
    tasks = [cocotb.start_soon(repeat_access(access)) for access in accesses for _ in range(3)]
    await bench.settle(500)
    monitor = bench.monitor
    before = monitor.traffic.reads, monitor.traffic.writes, monitor.completions
    await bench.settle(6000)
    after = monitor.traffic.reads, monitor.traffic.writes, monitor.completions
    reads, writes, completions = (now - then for now, then in zip(after, before, strict=True))
    stop.append(True)
    for task in tasks:
        await task
    shares = f"{reads} reads, {writes} writes, {completions} completions"
    assert 2 * min(writes, completions) > max(writes, completions), shares
    # Reads also wait for their own answers, so that they use less than their share.
    assert 4 * reads > writes, shares
    await bench.finish()
