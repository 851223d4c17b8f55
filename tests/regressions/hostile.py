# SPDX-License-Identifier: BSD-2-Clause
"""Hostile histories: a few that Hypothesis generates from a fixed seed, and fixed ones."""

import cocotb
import cocotb.task

from models.layout import PAGE
from testbench.hostile.actions import Hostile
from testbench.hostile.budget import Budget
from testbench.hostile.machine import run_histories
from testbench.hostile.malformed import KINDS
from testbench.hostile.recovery import WAYS, recover

HISTORY_SEED = 20261123
"""A fixed seed: these histories are the same in every run. ``make fuzz`` generates others."""
HISTORIES = 4


@cocotb.test(timeout_time=100, timeout_unit="ms")
async def random_histories(dut):
    """After random actions of two hostile ends nothing is lost or overwritten, and all works."""
    hostile = await Hostile.open(dut)
    budget = Budget()
    run = cocotb.task.bridge(run_histories)
    try:
        await run(hostile, budget, seed=HISTORY_SEED, histories=HISTORIES)
    except BaseException:
        cocotb.log.error("shrunk to:\n%s", "\n".join(budget.program))
        raise
    await hostile.bench.quiescer.check_ram()
    assert hostile.histories >= HISTORIES and hostile.faults.total() > HISTORIES
    assert hostile.bench.tally.to_device and hostile.bench.tally.to_driver


@cocotb.test(timeout_time=100, timeout_unit="ms")
async def every_way_to_recover(dut):
    """Every hostile action, then each way to recover."""
    hostile = await Hostile.open(dut)
    capacity = hostile.bench.queues.queue.capacity
    for way in WAYS:
        await hostile.begin()
        await hostile.stall_host(stalled=True)
        await hostile.answer(fifo=0, count=3)
        await hostile.publish(fifo=0, count=capacity + 1, order=1, cuts=3, careful=False)
        await hostile.scribble_index(fifo=0, queue="driver", word="tail", value=0xFFFF_FFFF)
        await hostile.scribble_index(fifo=0, queue="device", word="head", value=capacity)
        await hostile.enable_bus_master(enabled=False)
        await hostile.doorbells(first=0, count=4, times=10)
        for kind in KINDS:
            await hostile.malformed(kind=kind, fifo=0)
        await hostile.bad_packet(fifo=7, size=200)
        await hostile.stop_packet(cycles=3)
        await hostile.wait(cycles=40)
        await recover(hostile, way=way)
    await hostile.bench.quiescer.check_ram()


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def reset_while_a_message_waits_for_its_data(dut):
    """A reset drops a message that waits for its data; the next message waits for its own."""
    hostile = await Hostile.open(dut)
    await hostile.begin()
    for _ in range(3):
        # Stall the stream of writes, where the top has one.
        await hostile.stall_host(stalled=True, which=3)
        await hostile.answer_with_data(fifo=0, dwords=150)
        await hostile.wait(cycles=60)
        await hostile.reset_function()
        await hostile.stall_host(stalled=True, which=3)
        await hostile.answer_with_data(fifo=0, dwords=150)
        await hostile.wait(cycles=60)
        await hostile.stall_host(stalled=False, which=3)
        await hostile.rest()
    await recover(hostile, way="none")


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def writes_outside_the_queues(dut):
    """Writes to every page without a queue, at any time, change no message and no queue."""
    hostile = await Hostile.open(dut)
    queues = hostile.bench.queues
    layout, num_fifos, bar = queues.layout, hostile.num_fifos, queues.shell.fifo_bar
    pages = set(range(0, layout.size(num_fifos), PAGE))
    for fifo in range(num_fifos):
        pages -= {layout.driver_queue_base(fifo), layout.device_queue_base(fifo)}
    await hostile.begin()
    await hostile.pace(seed=HISTORY_SEED, longest=3)
    for seed, page in enumerate(sorted(pages)):
        fifo = seed % num_fifos
        await hostile.answer(fifo=fifo, count=2)
        await hostile.publish(fifo=fifo, count=2, order=seed, cuts=1)
        for offset in range(page, page + PAGE, PAGE // 4):
            await hostile.scribble(fifo=0, offset=offset, size=300, seed=seed)
            await hostile.read(bar=bar, offset=offset, size=300)
        await hostile.wait(cycles=seed)
    await recover(hostile, way="none")
    await hostile.bench.quiescer.check_ram()
