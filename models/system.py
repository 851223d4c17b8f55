# SPDX-License-Identifier: BSD-2-Clause
"""Driver, golden endpoint and devices in one process, without a simulator.

:class:`EndpointHost` and :class:`EndpointPort` implement the protocols of ``models.bus`` over the
golden endpoint. :class:`ModelSystem` connects a driver and a transport to every FIFO.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

from .bus import InterruptLog, MessageObserver
from .config_space import (
    BUS_MASTER_ENABLE,
    COMMAND,
    MEMORY_SPACE_ENABLE,
    MSIX_CAPABILITY,
    MSIX_ENABLE,
    bar_offset,
)
from .devices import VirtioDevice
from .dma import DmaError
from .driver import TIMEOUT_US
from .endpoint import Endpoint
from .host_memory import MemoryAccessError, MemoryModel
from .layout import SPSC_PAGES, SharedLayout
from .messages import Dialect
from .msix import ENTRY
from .runtime import AsyncioRuntime, Event, Lock, Runtime, sleep
from .shell import AMP_PCI, PciShell
from .stack import BusStack

MSI_ADDRESS = 0xFEE0_0000
FIRST_BAR_ADDRESS = 0x8000_0000


class EndpointHost:
    """:class:`~models.bus.HostFunction` over the golden endpoint.

    Attributes
    ----------
    interrupts
        Number of MSI-X messages received, by vector.
    memory
        Host memory.
    """

    def __init__(self, endpoint: Endpoint, runtime: Runtime) -> None:
        self._interrupts = InterruptLog(runtime.event)
        self.interrupts = self._interrupts.counts
        self.interrupts.update(dict.fromkeys(range(endpoint.msix.num_vectors), 0))
        self.memory = MemoryModel()
        self._endpoint = endpoint
        endpoint.msix.observers.append(self._count_interrupt)

    @property
    def num_fifos(self) -> int:
        """Implement :attr:`HostFunction.num_fifos`."""
        return self._endpoint.num_fifos

    async def bar_read(self, bar: int, offset: int, size: int) -> bytes:
        """Implement :meth:`HostFunction.bar_read`: all ones while requests are not claimed."""
        if not self._endpoint.config.memory_enabled:
            return b"\xff" * size
        return self._endpoint.bar_read(bar, offset, size)

    async def bar_write(self, bar: int, offset: int, data: bytes) -> None:
        """Implement :meth:`HostFunction.bar_write`: dropped while requests are not claimed."""
        if self._endpoint.config.memory_enabled:
            self._endpoint.bar_write(bar, offset, data)

    def interrupt(self, vector: int) -> Event:
        """Implement :meth:`HostFunction.interrupt`."""
        return self._interrupts.event(vector)

    def enable(self) -> None:
        """Assign BARs, enable the function and unmask all vectors, as PCI software does."""
        endpoint, shell, address = self._endpoint, self._endpoint.shell, FIRST_BAR_ADDRESS
        for bar, size in sorted(endpoint.bar_sizes.items()):
            address = -(-address // size) * size
            endpoint.config_write(bar_offset(bar), address)
            address += size
        endpoint.config_write(COMMAND, MEMORY_SPACE_ENABLE.mask | BUS_MASTER_ENABLE.mask)
        for vector in range(endpoint.msix.num_vectors):
            entry = ENTRY.pack(MSI_ADDRESS, vector, 0)
            endpoint.bar_write(shell.msix_bar, shell.msix_entry(vector), entry)
        endpoint.config_write(MSIX_CAPABILITY, MSIX_ENABLE.mask)

    def _count_interrupt(self, address: int, data: int) -> None:
        if address == MSI_ADDRESS and data in self.interrupts:
            self._interrupts.record(data)


class EndpointPort:
    """:class:`~models.bus.DevicePort` over the golden endpoint."""

    def __init__(self, endpoint: Endpoint, runtime: Runtime) -> None:
        self._endpoint = endpoint
        self._runtime = runtime
        self._changed = runtime.event()
        self._send_locks: dict[int, Lock] = {}
        self._resets = 0
        endpoint.host_write_observers.append(self._changed.set)
        endpoint.host_reset_observers.append(self._reset)

    async def receive(self) -> tuple[int, bytes]:
        """Implement :meth:`DevicePort.receive`."""
        while True:
            self._changed.clear()
            message = self._endpoint.pop()
            if message is not None:
                return message
            await self._changed.wait()

    async def send(self, fifo: int, message: bytes) -> None:
        """Implement :meth:`DevicePort.send`."""
        resets = self._resets
        async with self._send_locks.setdefault(fifo, Lock(self._runtime)):
            while resets == self._resets:
                self._changed.clear()
                if self._endpoint.push(fifo, message):
                    return
                await self._changed.wait()

    def _reset(self) -> None:
        self._resets += 1
        self._changed.set()


class EndpointDma:
    """:class:`~models.dma.Dma` of the golden endpoint: host memory while it is a bus master.

    Parameters
    ----------
    endpoint
        The endpoint, whose Bus Master Enable and power state gate accesses.
    memory
        Host memory.
    runtime
        Time.
    latency_us
        Duration of each access, in microseconds.
    """

    def __init__(
        self, endpoint: Endpoint, memory: MemoryModel, runtime: Runtime, latency_us: float = 0.0
    ) -> None:
        self.latency_us = latency_us
        self._endpoint = endpoint
        self._memory = memory
        self._runtime = runtime

    async def read(self, address: int, size: int) -> bytes:
        """Implement :meth:`Dma.read`."""
        await self._wait_latency()
        self._check("read", address, size)
        try:
            return self._memory.load(address, size)
        except MemoryAccessError as error:
            raise DmaError(f"read refused: {error}") from error

    async def write(self, address: int, data: bytes) -> None:
        """Implement :meth:`Dma.write`: a write outside allocated memory is dropped."""
        self._check("write", address, len(data))
        with contextlib.suppress(MemoryAccessError):
            self._memory.store(address, data)
        await self._wait_latency()

    async def _wait_latency(self) -> None:
        if self.latency_us:
            await sleep(self._runtime, self.latency_us)

    def _check(self, verb: str, address: int, size: int) -> None:
        if not self._endpoint.config.bus_master_enabled:
            raise DmaError(f"{verb} of {size} bytes at {address:#x}: bus mastering is off")


class ModelSystem:
    """Host with one driver per FIFO, golden endpoint, and the devices behind it.

    ``async with ModelSystem([{0: EntropyDevice()}]) as system: ...`` enables the function and
    starts both sides. In :func:`models.virtual_time.run`, timeouts do not depend on the machine.

    Parameters
    ----------
    devices_by_fifo
        Devices by number, one entry per FIFO. The number of entries is the number of FIFOs.
    runtime
        Tasks, events and time; asyncio by default.
    shell
        PCI shell of the endpoint.
    layout
        Layout of the shared RAM.
    revision
        Wire revision, by name or as an object.
    timeout_us
        Time that a request waits for its response, in microseconds.
    dma_latency_us
        Duration of a device's access to host memory, in microseconds.

    Raises
    ------
    MaximumSizeError
        Messages of the revision can be larger than a slot of the layout.

    Attributes
    ----------
    endpoint
        The golden endpoint.
    host
        Host side of the endpoint.
    port
        Device side of the endpoint.
    buses
        Driver bus of each FIFO.
    drivers
        Driver of each FIFO.
    dma
        Access of the devices to host memory.
    device_side
        Transports, and the task that feeds them.
    """

    def __init__(
        self,
        devices_by_fifo: Sequence[Mapping[int, VirtioDevice]],
        runtime: Runtime | None = None,
        *,
        shell: PciShell = AMP_PCI,
        layout: SharedLayout = SPSC_PAGES,
        revision: str | Dialect = "v1",
        timeout_us: float = TIMEOUT_US,
        dma_latency_us: float = 0.0,
    ) -> None:
        self.runtime = runtime or AsyncioRuntime()
        self.endpoint = Endpoint(len(devices_by_fifo), shell, layout)
        self.host = EndpointHost(self.endpoint, self.runtime)
        self.port = EndpointPort(self.endpoint, self.runtime)
        self.dma = EndpointDma(self.endpoint, self.host.memory, self.runtime, dma_latency_us)
        self._stack = BusStack(
            self.host,
            self.port,
            devices_by_fifo,
            self.runtime,
            dma=self.dma,
            shell=shell,
            layout=layout,
            revision=revision,
            timeout_us=timeout_us,
        )
        self.buses = self._stack.buses
        self.drivers = self._stack.drivers
        self.device_side = self._stack.device_side
        self.endpoint.host_reset_observers.append(self.device_side.reset)

    def observe(self, observer: MessageObserver) -> None:
        """Call ``observer`` for each message that a driver sends or receives."""
        self._stack.observe(observer)

    async def start(self) -> None:
        """Enable the function and start the device side and the drivers."""
        self.host.enable()
        await self._stack.start()

    def stop(self) -> None:
        """Stop both sides."""
        self._stack.stop()

    async def __aenter__(self) -> ModelSystem:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop()
