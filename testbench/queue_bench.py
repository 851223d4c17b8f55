# SPDX-License-Identifier: BSD-2-Clause
"""A host that operates the queues with single stores and loads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from models.config_space import INITIATE_FLR

from .bench import Bench, Pacing
from .parameters import parameters
from .queue_access import QueueAccess, slot_of
from .stream.axis import AxisMessageSink, AxisMessageSource


def slot_bytes(number: int) -> bytes:
    """Contents of one slot of the design under test, as :func:`slot_of`."""
    return slot_of(number, parameters().layout.queue.slot_size)


class QueueBench(Bench, QueueAccess):
    """A bench with raw message streams on the device side and single queue accesses on the host's.

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
        Bench.__init__(self, dut, **options)
        QueueAccess.__init__(self, self.host, self.parameters.shell, self.parameters.layout)
        self.sink = AxisMessageSink(self.dut, stall=device_stall)
        self.source = AxisMessageSource(self.dut, idle=device_idle)

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
