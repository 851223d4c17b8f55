# SPDX-License-Identifier: BSD-2-Clause
"""Drivers and device side of all FIFOs, on the host side and the device side of any endpoint.

The systems share this module: :class:`models.system.ModelSystem` over the golden endpoint, and the
systems of ``sim`` and ``testbench`` over the gateware.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .bus import DevicePort, FifoDriverBus, HostFunction, MessageObserver, dialect_on
from .device_bus import DeviceBus
from .devices import VirtioDevice
from .dma import Dma
from .driver import TIMEOUT_US, Driver, RingAllocator
from .layout import SPSC_PAGES, SharedLayout
from .messages import Dialect
from .runtime import Runtime
from .shell import AMP_PCI, PciShell


class BusStack:
    """Driver, driver bus and rings of each FIFO, and the device side of all FIFOs.

    Parameters
    ----------
    host
        Host side of the endpoint. Rings are allocated in its memory.
    port
        Device side of the endpoint.
    devices_by_fifo
        Devices by number, one entry per FIFO.
    runtime
        Tasks, events and time.
    dma
        Access of the devices to host memory.
    shell
        PCI shell of the endpoint.
    layout
        Layout of the shared RAM.
    revision
        Wire revision, by name or as an object.
    timeout_us
        Time that a request waits for its response, in microseconds.
    drivers
        Whether to create the drivers and their buses.

    Raises
    ------
    MaximumSizeError
        Messages of the revision can be larger than a slot of the layout.

    Attributes
    ----------
    buses
        Driver bus of each FIFO.
    drivers
        Driver of each FIFO.
    device_side
        Transports, and the tasks that feed them.
    """

    def __init__(
        self,
        host: HostFunction,
        port: DevicePort,
        devices_by_fifo: Sequence[Mapping[int, VirtioDevice]],
        runtime: Runtime,
        *,
        dma: Dma,
        shell: PciShell = AMP_PCI,
        layout: SharedLayout = SPSC_PAGES,
        revision: str | Dialect = "v1",
        timeout_us: float = TIMEOUT_US,
        drivers: bool = True,
    ) -> None:
        revision = dialect_on(layout, revision)
        self.device_side = DeviceBus(port, devices_by_fifo, runtime, dma=dma, revision=revision)
        self.buses = [
            FifoDriverBus(host, fifo, runtime, shell=shell, layout=layout)
            for fifo in range(len(devices_by_fifo) if drivers else 0)
        ]
        self.drivers = [
            Driver(bus, runtime, revision=revision, timeout_us=timeout_us) for bus in self.buses
        ]
        for driver in self.drivers:
            driver.rings = RingAllocator(memory=host.memory)

    def observe(self, observer: MessageObserver) -> None:
        """Call ``observer`` for each message that a driver sends or receives."""
        for bus in self.buses:
            bus.observers.append(observer)

    async def start(self) -> None:
        """Start the device side, then the drivers. The host must have enabled the function."""
        self.device_side.start()
        for driver in self.drivers:
            await driver.start()

    def stop(self) -> None:
        """Stop the drivers, then the device side."""
        for driver in self.drivers:
            driver.stop()
        self.device_side.stop()
