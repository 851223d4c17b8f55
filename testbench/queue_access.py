# SPDX-License-Identifier: BSD-2-Clause
"""Single loads and stores of a host on the queues, on any implementation of its function."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from models.bus import BarMemory
from models.layout import QueueLayout, SharedLayout
from models.shell import PciShell


def slot_of(number: int, size: int) -> bytes:
    """Contents of a slot of ``size`` bytes: ``number`` in the first dword, then bytes seeded with
    it."""
    return number.to_bytes(4, "little") + random.Random(number).randbytes(size - 4)


class QueueAccess:
    """Accesses to the queues of a function.

    Offsets are in bytes; :meth:`load` and :meth:`store` take them from the start of the FIFO BAR.

    Parameters
    ----------
    host
        Implements the ``HostFunction`` contract.
    shell, layout
        PCI shell of the design, and layout of its FIFO BAR.

    Attributes
    ----------
    queue
        Layout of a queue.
    memory
        The FIFO BAR as a memory for the reference queue.
    """

    def __init__(self, host: Any, shell: PciShell, layout: SharedLayout) -> None:
        self.host = host
        self.shell = shell
        self.layout = layout
        self.queue: QueueLayout = layout.queue
        self.memory = BarMemory(host, shell.fifo_bar)

    def driver(self, fifo: int, offset: int) -> int:
        """BAR offset of byte ``offset`` of a FIFO's driver queue."""
        return self.layout.driver_queue_base(fifo) + offset

    def device(self, fifo: int, offset: int) -> int:
        """BAR offset of byte ``offset`` of a FIFO's device queue."""
        return self.layout.device_queue_base(fifo) + offset

    async def load(self, offset: int) -> int:
        """Read a little-endian dword."""
        return int.from_bytes(await self.host.bar_read(self.shell.fifo_bar, offset, 4), "little")

    async def store(self, offset: int, value: int) -> None:
        """Write a little-endian dword."""
        await self.host.bar_write(self.shell.fifo_bar, offset, value.to_bytes(4, "little"))

    async def store_bytes(self, offset: int, data: bytes) -> None:
        """Write bytes."""
        await self.host.bar_write(self.shell.fifo_bar, offset, data)

    async def write_slot(self, fifo: int, index: int, data: bytes) -> None:
        """Write slot ``index`` of the driver queue."""
        await self.store_bytes(self.driver(fifo, self.queue.slot_offset(index)), data)

    async def set_driver_head(self, fifo: int, index: int) -> None:
        """Write head, which publishes the slots below ``index``; no doorbell."""
        await self.store(self.driver(fifo, self.queue.head_offset), index)

    async def driver_head(self, fifo: int) -> int:
        """Read the head of the driver queue."""
        return await self.load(self.driver(fifo, self.queue.head_offset))

    async def driver_tail(self, fifo: int) -> int:
        """Read the tail of the driver queue."""
        return await self.load(self.driver(fifo, self.queue.tail_offset))

    async def device_head(self, fifo: int) -> int:
        """Read the head of the device queue."""
        return await self.load(self.device(fifo, self.queue.head_offset))

    async def set_device_tail(self, fifo: int, index: int) -> None:
        """Write tail, which frees the device queue's slots below ``index``."""
        await self.store(self.device(fifo, self.queue.tail_offset), index)

    async def device_slot(self, fifo: int, index: int) -> bytes:
        """Read slot ``index`` of the device queue."""
        data: bytes = await self.host.bar_read(
            self.shell.fifo_bar,
            self.device(fifo, self.queue.slot_offset(index)),
            self.queue.slot_size,
        )
        return data

    async def ring(self, fifo: int) -> None:
        """Ring a FIFO's doorbell."""
        await self.host.bar_write(self.shell.register_bar, self.shell.notify(fifo), b"\1\0\0\0")

    async def fill(self, fifo: int, numbers: Iterable[int], *, first: int = 0) -> int:
        """Write messages to the slots from ``first`` on and advance head; no doorbell.

        Returns
        -------
        int
            The new head.
        """
        index = first
        for number in numbers:
            await self.write_slot(fifo, index, slot_of(number, self.queue.slot_size))
            index = self.queue.next(index)
        await self.set_driver_head(fifo, index)
        return index
