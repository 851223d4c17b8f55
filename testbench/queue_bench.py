# SPDX-License-Identifier: BSD-2-Clause
"""A host that operates the queues with single stores and loads."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from models.bus import BarMemory
from models.config_space import INITIATE_FLR
from models.layout import QueueLayout, SharedLayout
from models.shell import PciShell

from .bench import Bench, Pacing
from .parameters import parameters
from .stream.axis import AxisMessageSink, AxisMessageSource


def slot_bytes(number: int) -> bytes:
    """Contents of one slot: ``number`` in the first dword, then bytes seeded with it."""
    size = parameters().layout.queue.slot_size
    return number.to_bytes(4, "little") + random.Random(number).randbytes(size - 4)


class QueueBench(Bench):
    """A bench with raw message streams on the device side and single queue accesses on the host's.

    Offsets are in bytes; :meth:`load` and :meth:`store` take them from the start of the FIFO BAR.

    Parameters
    ----------
    dut
        The design's top.
    device_idle, device_stall
        Idle cycles before the beats of messages to the driver, and back-pressure on messages from
        it.
    **options
        As :class:`~testbench.bench.Bench`.

    Attributes
    ----------
    sink, source
        Message streams from and to the driver.
    """

    def __init__(
        self,
        dut: Any,
        *,
        device_idle: Pacing = None,
        device_stall: Pacing = None,
        **options: Any,
    ) -> None:
        super().__init__(dut, **options)
        self.sink = AxisMessageSink(self.dut, stall=device_stall)
        self.source = AxisMessageSource(self.dut, idle=device_idle)

    @property
    def shell(self) -> PciShell:
        """PCI shell of the design."""
        return self.parameters.shell

    @property
    def layout(self) -> SharedLayout:
        """Layout of the FIFO BAR."""
        return self.parameters.layout

    @property
    def queue(self) -> QueueLayout:
        """Layout of a queue."""
        return self.layout.queue

    @property
    def memory(self) -> BarMemory:
        """The FIFO BAR as a memory for the reference queue."""
        return BarMemory(self.host, self.shell.fifo_bar)

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
            await self.write_slot(fifo, index, slot_bytes(number))
            index = self.queue.next(index)
        await self.set_driver_head(fifo, index)
        return index

    async def function_reset(self) -> None:
        """Reset the function (FLR) in the way its top offers, and enable it again."""
        if self.parameters.top == "core":
            self.host.set_pins(function_reset=1)
            await self.settle(1)
            self.host.set_pins(function_reset=0)
            self.monitor.forget_outstanding()
            await self.settle(20)
        else:
            field = INITIATE_FLR
            control = await self.host.config_read(field.offset)
            await self.host.config_write(field.offset, control & 0xFFFF | field.mask)
            await self.settle(20)
        await self.host.start()

    async def expect(self, messages: Iterable[tuple[int, bytes]]) -> None:
        """Require that the next messages to the device are exactly these ``(fifo, bytes)``."""
        for fifo, data in messages:
            got = await self.sink.recv()
            assert (got.fifo, got.data) == (fifo, data), f"got {got}, must be {fifo}: {data.hex()}"

    async def expect_nothing(self, cycles: int = 100) -> None:
        """Require that no message arrives within ``cycles`` clock cycles."""
        await self.settle(cycles)
        assert not self.sink.pending, f"unexpected message: {self.sink.recv_nowait()}"
