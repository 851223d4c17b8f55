# SPDX-License-Identifier: BSD-2-Clause
"""The device side's two message streams as one port.

A message enters the stream only while ``device_queue_ready`` is set for its FIFO, so a full device
queue does not block messages to other FIFOs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import cocotb

from models.runtime import Lock

from .runtime import CocotbRuntime
from .stream.axis import AxisMessageSink, AxisMessageSource


class StreamDevicePort:
    """Implements the ``DevicePort`` contract of :mod:`models.bus` over the design's streams.

    Parameters
    ----------
    dut
        The design's top.
    clk, reset
        Handles; the default is ``dut.clk`` and, if it exists, ``dut.rst``.
    idle, stall
        Idle cycles on the way in and back-pressure on the way out (:mod:`testbench.stream.pacing`).

    Attributes
    ----------
    source, sink
        The streams; pause them or change their pacing here.
    """

    def __init__(
        self,
        dut: Any,
        *,
        clk: Any = None,
        reset: Any = None,
        idle: Iterable[int] | None = None,
        stall: Iterable[int] | None = None,
    ) -> None:
        self.source = AxisMessageSource(dut, clk=clk, reset=reset, idle=idle)
        self.sink = AxisMessageSink(dut, clk=clk, reset=reset, stall=stall)
        self._queue_ready = dut.device_queue_ready
        self._edge = self.source.clk.rising_edge
        self._runtime = CocotbRuntime()
        self._locks: dict[int, Lock] = {}
        self._host_reset = dut.host_reset
        self._resets = 0
        self._reset_task = cocotb.start_soon(self._count_resets())

    @property
    def pending(self) -> int:
        """Messages that the design has not accepted yet."""
        return self.source.pending

    @property
    def received(self) -> int:
        """Messages that the design has sent."""
        return self.sink.received

    async def receive(self) -> tuple[int, bytes]:
        """Wait for the next message of any FIFO; return the FIFO's number and the whole slot."""
        message = await self.sink.recv()
        return message.fifo, message.data

    async def send(self, fifo: int, message: bytes) -> None:
        """Send 8 to 64 bytes to the driver; return when the design has accepted them.

        Waits while the FIFO's device queue is full. Messages of one FIFO are sent in the order of
        the calls. A reset of the function discards the messages that are still waiting.
        """
        resets = self._resets
        async with self._locks.setdefault(fifo, Lock(self._runtime)):
            # The flags include a message accepted at the last edge only from the next edge on.
            await self._edge
            while not int(self._queue_ready.value) >> fifo & 1:
                await self._queue_ready.value_change
                await self._edge
            if resets == self._resets:
                await self.source.send_message(fifo, message)

    async def _count_resets(self) -> None:
        while True:
            await self._host_reset.rising_edge
            self._resets += 1
