# SPDX-License-Identifier: BSD-2-Clause
"""A test bench that serves bursts for days does not grow."""

import gc
import os
import tracemalloc

import cocotb
from cocotb.triggers import Combine

from testbench.system import GatewareSystem

BURSTS = int(os.environ.get("BURSTS", "600"))
"""``make regress`` serves 10,000, enough to show a leak of six bytes per burst."""
WARM_UP = 200
CONCURRENT = 8
SLACK = 60_000
"""Bytes of memory that may vary: caches, the table of a dictionary that grew."""


@cocotb.test(timeout_time=1000 + 20 * BURSTS, timeout_unit="us")
async def bursts_do_not_leak_memory(dut):
    """Reads and writes through the window, with every monitor and counter of a served endpoint."""
    system = GatewareSystem(dut, [{}], drivers=False)
    await system.start()
    memory, dma = system.host.memory, system.dma
    address = memory.allocate(4096)

    async def access_memory(count):
        for number in range(count):
            if number % 2:
                await dma.write(address, bytes(64))
            else:
                await dma.read(address, 64)

    async def serve(count):
        await Combine(
            *(cocotb.start_soon(access_memory(count // CONCURRENT)) for _ in range(CONCURRENT))
        )

    await serve(WARM_UP)
    gc.collect()
    tracemalloc.start()
    await serve(WARM_UP)
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    await serve(BURSTS)
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    done = dma.statistics.read_bursts + dma.statistics.write_bursts
    assert done == 2 * (WARM_UP // CONCURRENT * CONCURRENT) + BURSTS // CONCURRENT * CONCURRENT
    assert after - before < SLACK, f"{after - before} bytes more after {BURSTS} bursts"
    await system.finish()
