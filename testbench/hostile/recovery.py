# SPDX-License-Identifier: BSD-2-Clause
"""How a history ends: the host and the device side behave again, and everything works again."""

from __future__ import annotations

from ..queue_bench import QUEUE
from .actions import Hostile
from .errors import HostileFailure

WAYS = ("none", "reload", "function", "hot")
"""Nothing but to go on, a driver that is loaded anew, a function-level reset, a hot reset."""
MOST_BYTES = 500
"""That the device side writes to host memory and reads back."""
ROUNDS = 10
"""Far more than it takes to make room for all packets that a history can leave waiting."""


async def recover(hostile: Hostile, *, way: str, fifo: int = 0) -> None:
    """End a history: check what it left, reset in one of :data:`WAYS`, and exchange messages.

    Parameters
    ----------
    hostile
        The bench.
    way, fifo
        How to reset, and whose driver is loaded anew.

    Raises
    ------
    HostileFailure
        Something is not as it must be.
    """
    hostile.note(f"await recover(hostile, way={way!r}, fifo={fifo})")
    hostile.recovering = True
    await hostile.hurry()
    await hostile.wait_until(
        lambda: hostile.host.requester.outstanding < 8, "requests are not answered"
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
    """A message each way on every FIFO, with its interrupt, each delivered at once.

    Raises
    ------
    HostileFailure
        One is missing.
    """
    tally, interrupts = hostile.tally, hostile.host.interrupts
    for _ in range(ROUNDS):
        # What was held back for want of room or of a doorbell goes first.
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
        raise HostileFailure(f"afterwards {out} of {messages} messages came out and {back} back")
    for vector in range(hostile.num_fifos):
        if interrupts[vector] <= before[2][vector]:
            raise HostileFailure(f"afterwards interrupt {vector} did not come")


async def use_memory(hostile: Hostile) -> None:
    """The device side writes host memory and reads it back.

    Raises
    ------
    HostileFailure
        It finds something else.
    """
    place = hostile.region + hostile.steps % QUEUE.slot_size
    data = (place.to_bytes(8, "little") * QUEUE.slot_size)[: 1 + hostile.steps % MOST_BYTES]
    await hostile.dma.write(place, data)
    found = await hostile.dma.read(place, len(data))
    if found != data:
        raise HostileFailure(f"wrote {data.hex()} to host memory and read {found.hex()}")
