# SPDX-License-Identifier: BSD-2-Clause
"""End of a history: host and device side behave well, and the endpoint must work again."""

from __future__ import annotations

from .actions import Hostile
from .errors import HostileFailure

WAYS = ("none", "reload", "function", "hot")
"""Without a reset, by reloading a driver, by a function-level reset, by a hot reset."""
MAX_DATA = 500
"""Most bytes that :func:`use_memory` writes and reads back."""
ROUNDS = 10
"""Limit on rounds of freeing slots for waiting packets; far more than any history needs."""


async def recover(hostile: Hostile, *, way: str, fifo: int = 0) -> None:
    """End a history: check its state, recover in one of :data:`WAYS`, and exchange messages.

    Parameters
    ----------
    hostile
        The actions and their bench.
    way
        How to recover.
    fifo
        FIFO whose driver is reloaded.

    Raises
    ------
    HostileFailure
        A check failed.
    """
    bench = hostile.bench
    host, quiescer = bench.host, bench.quiescer
    hostile.log(f"await recover(hostile, way={way!r}, fifo={fifo})")
    hostile.recovering = True
    await bench.streams.drain_pauses()
    requester = bench.queues.host.requester
    await bench.checker.wait_until(lambda: requester.outstanding < 8, "requests are not completed")
    await host.configure(memory_space=True)
    await host.configure(bus_master=True)
    await host.configure(msix=True, function_mask=False)
    if way == "hot":
        await hostile.hot_reset()
    else:
        for vector in range(hostile.num_fifos):
            await hostile.mask(vector=vector, masked=False)
        await quiescer.quiesce()
        if way == "function":
            await hostile.reset_function()
        elif way == "reload":
            await hostile.reload_driver(fifo=fifo)
    await quiescer.quiesce()
    await exchange(hostile)
    await use_memory(hostile)
    bench.end()


async def exchange(hostile: Hostile) -> None:
    """Exchange one message in each direction on every FIFO, with an interrupt.

    Raises
    ------
    HostileFailure
        A message or an interrupt is missing.
    """
    bench = hostile.bench
    tally, interrupts = bench.tally, bench.queues.host.interrupts
    for _ in range(ROUNDS):
        # First flush messages that wait for free slots or for a doorbell.
        for fifo in range(hostile.num_fifos):
            await hostile.consume(fifo=fifo)
        await hostile.doorbells(first=0, count=hostile.num_fifos)
        await bench.quiescer.quiesce()
        if not bench.queues.source.pending:
            break
    to_device, to_driver, interrupts_before = tally.to_device, tally.to_driver, dict(interrupts)
    for fifo in range(hostile.num_fifos):
        await hostile.publish(fifo=fifo)
        await hostile.answer(fifo=fifo)
    await bench.quiescer.quiesce()
    messages = hostile.num_fifos
    delivered = (tally.to_device - to_device, tally.to_driver - to_driver)
    if delivered != (messages, messages):
        raise HostileFailure(
            f"after recovery {delivered[0]} messages to the device and {delivered[1]} to the "
            f"driver were delivered, must be {messages} each"
        )
    for vector in range(hostile.num_fifos):
        if interrupts[vector] <= interrupts_before[vector]:
            raise HostileFailure(f"after recovery interrupt {vector} is missing")


async def use_memory(hostile: Hostile) -> None:
    """Write to host memory from the device side and read it back.

    Raises
    ------
    HostileFailure
        The data differs.
    """
    device, slot_size = hostile.bench.device, hostile.bench.queues.queue.slot_size
    address = device.memory + hostile.steps % slot_size
    data = (address.to_bytes(8, "little") * slot_size)[: 1 + hostile.steps % MAX_DATA]
    await device.dma.write(address, data)
    found = await device.dma.read(address, len(data))
    if found != data:
        raise HostileFailure(f"host memory reads {found.hex()}, must be {data.hex()}")
