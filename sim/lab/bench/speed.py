# SPDX-License-Identifier: BSD-2-Clause
"""Simulation speed: messages there and back, over the thin host and the root complex.

For each message the host writes the slot and rings the doorbell, the device side echoes it, and the
host reads the copy after its interrupt.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import cocotb

from models.layout import SPSC_PAGES
from testbench.queue_bench import QueueBench, slot_bytes

from .measures import FOLDER

EXCHANGES = 100


async def _exchange(dut: Any, name: str, *, root_complex: bool) -> None:
    bench = QueueBench(dut, root_complex=root_complex)
    await bench.start()

    async def echo() -> None:
        while True:
            message = await bench.sink.recv()
            await bench.source.send_message(message.fifo, message.data)

    cocotb.start_soon(echo())
    queue = SPSC_PAGES.queue
    started, first = time.perf_counter(), bench.cycles
    slot = 0
    for number in range(EXCHANGES):
        interrupt = bench.host.interrupt(0)
        await bench.write_slot(0, slot, slot_bytes(number))
        slot, index = queue.next(slot), slot
        await bench.set_driver_head(0, slot)
        await bench.ring(0)
        await interrupt.wait()
        assert await bench.device_slot(0, index) == slot_bytes(number)
        await bench.set_device_tail(0, slot)
    seconds = time.perf_counter() - started
    figures = {
        "cycles_per_second": round((bench.cycles - first) / seconds),
        "messages_per_second": round(2 * EXCHANGES / seconds, 1),
    }
    await bench.finish()
    (Path(os.environ[FOLDER]) / f"{name}.json").write_text(json.dumps(figures))


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def thin(dut: Any) -> None:
    """Over the thin bus functional model."""
    await _exchange(dut, "thin", root_complex=False)


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def root_complex(dut: Any) -> None:
    """Over cocotbext-pcie's root complex."""
    await _exchange(dut, "root_complex", root_complex=True)
