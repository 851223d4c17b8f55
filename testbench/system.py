# SPDX-License-Identifier: BSD-2-Clause
"""The gateware with a host in front of it and devices behind it, for tests and demos.

:class:`GatewareSystem` is the counterpart of :class:`models.system.ModelSystem` on the gateware.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import cocotb

from models.bus import MessageObserver, dialect_on
from models.devices import VirtioDevice
from models.messages import Dialect
from models.stack import BusStack

from .axi.dma import AxiDma
from .bench import Bench, Pacing
from .device_port import StreamDevicePort
from .parameters import parameters
from .trace import MessageTrace

REQUEST_TIMEOUT_US = 1000.0
"""Simulated time after which a driver's request fails; far longer than any response takes."""


class GatewareSystem(Bench):
    """A bench with one driver for each FIFO and the devices behind the gateware.

    Parameters
    ----------
    dut
        The design's top.
    devices_by_fifo
        The devices of each FIFO, by device number.
    revision
        Wire revision of every FIFO's bus, by name or as an object.
    drivers
        Whether to create a driver for each FIFO; ``False`` for a test with drivers of its own.
    device_idle, device_stall
        Idle cycles before the beats of messages to the driver, and back-pressure on messages from
        it.
    dma_pauses
        Pauses of the channels of the DMA window, as :class:`~testbench.axi.dma.AxiDma`.
    **options
        As :class:`~testbench.bench.Bench`.

    Raises
    ------
    MaximumSizeError
        Messages of the revision can exceed the slot size of the design's layout.

    Attributes
    ----------
    port
        The device side's message streams.
    dma
        DMA of the devices, through the AXI window.
    device_side
        The device side's transports, one for each FIFO.
    buses, drivers
        One of each for each FIFO.
    trace
        Records every message on the device-side streams.
    """

    def __init__(
        self,
        dut: Any,
        devices_by_fifo: Sequence[Mapping[int, VirtioDevice]],
        *,
        revision: str | Dialect = "v1",
        drivers: bool = True,
        device_idle: Pacing = None,
        device_stall: Pacing = None,
        dma_pauses: Mapping[str, Iterable[int]] | None = None,
        **options: Any,
    ) -> None:
        revision = dialect_on(parameters().layout, revision)
        super().__init__(dut, **options)
        dut = self.dut
        self.port = StreamDevicePort(dut, idle=device_idle, stall=device_stall)
        self.dma = AxiDma(dut, pauses=dma_pauses)
        self.trace = MessageTrace(revision=revision)
        self.trace.attach(dut)
        self._stack = BusStack(
            self.host,
            self.port,
            devices_by_fifo,
            self.runtime,
            dma=self.dma,
            shell=self.parameters.shell,
            layout=self.parameters.layout,
            revision=revision,
            timeout_us=REQUEST_TIMEOUT_US,
            drivers=drivers,
        )
        self.buses = self._stack.buses
        self.drivers = self._stack.drivers
        self.device_side = self._stack.device_side
        self._reset_task = cocotb.start_soon(self._follow_resets())

    def observe(self, observer: MessageObserver) -> None:
        """Call ``observer`` with each message that the drivers send or receive."""
        self._stack.observe(observer)

    async def start(self, **options: Any) -> None:
        """As :meth:`~testbench.bench.Bench.start`; also start the device side and the drivers."""
        await super().start(**options)
        await self._stack.start()

    async def _follow_resets(self) -> None:
        while True:
            await self.dut.host_reset.rising_edge
            self.device_side.reset()
