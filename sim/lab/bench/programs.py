# SPDX-License-Identifier: BSD-2-Clause
"""What the speed of both engines is measured with: the same programs on either bench."""

from __future__ import annotations

import random
import time
from typing import Any

from models.devices import BlockDevice
from models.drivers import BlockDriver
from testbench.queue_access import QueueAccess, slot_of

Figures = dict[str, float]

EXCHANGES = 100
ACCESSES = 32
"""DMA accesses of a device at once."""
ROUNDS = 4
DMA_BYTES = 4096
BLOCK_REQUESTS = 16
BLOCK_BYTES = 4096
SECTOR = 512
DISK = 0


class Timer:
    """Host time and simulated cycles from its creation on.

    Parameters
    ----------
    bench
        Counts cycles.
    """

    def __init__(self, bench: Any) -> None:
        self._bench = bench
        self._cycles = bench.cycles
        self._started = time.perf_counter()

    def figures(self, **counts: float) -> Figures:
        """``cycles_per_second``, and each count per second."""
        seconds = time.perf_counter() - self._started
        cycles = self._bench.cycles - self._cycles
        rates = {f"{name}_per_second": round(count / seconds, 1) for name, count in counts.items()}
        return {"cycles_per_second": round(cycles / seconds), **rates}


async def exchange_messages(bench: Any, port: Any, exchanges: int = EXCHANGES) -> Figures:
    """Messages there and back.

    For each message the host writes the slot and rings the doorbell, the device side echoes it, and
    the host reads the copy after its interrupt.

    Parameters
    ----------
    bench
        A started bench of either engine.
    port
        Its device side, a :class:`models.bus.DevicePort`.
    exchanges
        Messages in each direction.
    """

    async def echo() -> None:
        while True:
            await port.send(*await port.receive())

    echoing = bench.runtime.spawn(echo())
    access = QueueAccess(bench.host, bench.parameters.shell, bench.parameters.layout)
    queue = access.queue
    interrupt = bench.host.interrupt(0)
    timer = Timer(bench)
    slot = 0
    for number in range(exchanges):
        message = slot_of(number, queue.slot_size)
        interrupt.clear()
        await access.write_slot(0, slot, message)
        slot, index = queue.next(slot), slot
        await access.set_driver_head(0, slot)
        await access.ring(0)
        await interrupt.wait()
        assert await access.device_slot(0, index) == message
        await access.set_device_tail(0, slot)
    figures = timer.figures(messages=2 * exchanges)
    echoing.cancel()
    return figures


async def move_data(bench: Any) -> Figures:
    """DMA of many accesses at once in both directions."""
    memory = bench.host.memory
    region = memory.allocate(ACCESSES * DMA_BYTES)
    data = [random.Random(number).randbytes(DMA_BYTES) for number in range(ACCESSES)]

    async def access(number: int) -> None:
        address = region + number * DMA_BYTES
        await bench.dma.write(address, data[number])
        assert await bench.dma.read(address, DMA_BYTES) == data[number]

    timer = Timer(bench)
    for _ in range(ROUNDS):
        # Each is awaited, so that an error of any ends the measurement.
        for task in [bench.runtime.spawn(access(number)) for number in range(ACCESSES)]:
            await task
    return timer.figures(bytes=2 * ROUNDS * ACCESSES * DMA_BYTES)


def block_devices() -> list[dict[int, BlockDevice]]:
    """The devices for :func:`transfer_blocks`."""
    return [{DISK: BlockDevice(sectors=2 * BLOCK_REQUESTS * BLOCK_BYTES // SECTOR)}]


async def transfer_blocks(system: Any) -> Figures:
    """Write requests of a block driver, and reads of the same sectors.

    Parameters
    ----------
    system
        A started system of either engine with :func:`block_devices`.
    """
    driver = await BlockDriver.probe(system.drivers[0], DISK, system.host.memory)
    step = BLOCK_BYTES // SECTOR
    blocks = [random.Random(number).randbytes(BLOCK_BYTES) for number in range(BLOCK_REQUESTS)]
    timer = Timer(system)
    for number, block in enumerate(blocks):
        await driver.write(step * number, block)
    for number, block in enumerate(blocks):
        assert await driver.read(step * number, step) == block
    return timer.figures(bytes=2 * BLOCK_REQUESTS * BLOCK_BYTES)
