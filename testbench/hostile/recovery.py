# SPDX-License-Identifier: BSD-2-Clause
"""End of a history: host and device side behave well, and the endpoint must work again."""

from __future__ import annotations

from ..queue_bench import QUEUE
from .actions import Hostile
from .errors import HostileFailure

WAYS = ("none", "reload", "function", "hot")
"""Without a reset, by reloading a driver, by a function-level reset, by a hot reset."""
MOST_BYTES = 500
"""Most bytes that :func:`use_memory` writes and reads back."""
ROUNDS = 10
"""Limit on rounds of freeing slots for waiting packets; far more than any history needs."""


async def recover(hostile: Hostile, *, way: str, fifo: int = 0) -> None:
    """End a history: check its state, recover in one of :data:`WAYS`, and exchange messages.

    Parameters
    ----------
    hostile
        The bench.
    way
        How to recover.
    fifo
        FIFO whose driver is reloaded.

    Raises
    ------
    HostileFailure
        A check failed.
    """
    hostile.note(f"await recover(hostile, way={way!r}, fifo={fifo})")
    hostile.recovering = True
    await hostile.hurry()
    await hostile.wait_until(
        lambda: hostile.host.requester.outstanding < 8, "requests are not completed"
    )
    await hostile.configure(memory=True)
    await hostile.configure(bus_master=True)
    await hostile.configure(msix=True, function_mask=False)
    if way == "hot":
        await hostile.hot_reset()
    else:
        for vector in range(hostile.num_fifos):
            await hostile.mask(vector=vector, masked=False)
        await hostile.come_to_rest()
        if way == "function":
            await hostile.reset_function()
        elif way == "reload":
            await hostile.reload_driver(fifo=fifo)
    await hostile.come_to_rest()
    await exchange(hostile)
    await use_memory(hostile)
    hostile.end()


async def exchange(hostile: Hostile) -> None:
    """Exchange one message in each direction on every FIFO, with an interrupt.

    Raises
    ------
    HostileFailure
        A message or an interrupt is missing.
    """
    tally, interrupts = hostile.tally, hostile.host.interrupts
    for _ in range(ROUNDS):
        # First flush messages that wait for free slots or for a doorbell.
        for fifo in range(hostile.num_fifos):
            await hostile.consume(fifo=fifo)
        await hostile.doorbells(first=0, count=hostile.num_fifos)
        await hostile.come_to_rest()
        if not hostile.source.pending:
            break
    before = (tally.to_device, tally.to_driver, dict(interrupts))
    for fifo in range(hostile.num_fifos):
        await hostile.publish(fifo=fifo)
        await hostile.answer(fifo=fifo)
    await hostile.come_to_rest()
    messages = hostile.num_fifos
    out, back = tally.to_device - before[0], tally.to_driver - before[1]
    if (out, back) != (messages, messages):
        raise HostileFailure(
            f"after recovery {out} messages to the device and {back} to the driver were delivered, "
            f"must be {messages} each"
        )
    for vector in range(hostile.num_fifos):
        if interrupts[vector] <= before[2][vector]:
            raise HostileFailure(f"after recovery interrupt {vector} is missing")


async def use_memory(hostile: Hostile) -> None:
    """Write to host memory from the device side and read it back.

    Raises
    ------
    HostileFailure
        The data differs.
    """
    place = hostile.region + hostile.steps % QUEUE.slot_size
    data = (place.to_bytes(8, "little") * QUEUE.slot_size)[: 1 + hostile.steps % MOST_BYTES]
    await hostile.dma.write(place, data)
    found = await hostile.dma.read(place, len(data))
    if found != data:
        raise HostileFailure(f"host memory reads {found.hex()}, must be {data.hex()}")
