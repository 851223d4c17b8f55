# SPDX-License-Identifier: BSD-2-Clause
"""The compiled gateware with a host in front of it and devices behind it.

:class:`NativeBench` corresponds to :class:`testbench.bench.Bench`, :class:`NativeSystem` to
:class:`testbench.system.GatewareSystem`.
"""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from models.bus import MessageObserver, dialect_on
from models.devices import VirtioDevice
from models.layout import layout_of
from models.messages import Dialect
from models.shell import shell_of
from models.stack import BusStack
from testbench.host.requester import HostError
from testbench.parameters import Parameters
from testbench.system import REQUEST_TIMEOUT_US
from testbench.timing import CLOCK_PERIOD_NS, RESET_CYCLES
from testbench.tlp.monitor import TlpMonitor
from testbench.trace import MessageTrace

from ..build import BuildConfiguration
from .device_side import NativeDma, NativePort
from .endpoint import BATCH_CYCLES, FOREVER, Kind, NativeEndpoint
from .host import NativeHost
from .library import build_library
from .runtime import NativeRuntime

IDLE_CYCLES = 1024
"""Cycles without any movement at a port after which nothing happens any more, unless a timer ends:
many times the longest latency between two ports."""


class NativeBench:
    """The endpoint with a host in front of it and its streams behind it.

    ``with NativeBench(configuration) as bench: bench.run(program(bench))``

    Parameters
    ----------
    configuration
        The build, an endpoint with its DMA window.
    waves
        File of waves, if ``configuration`` has them.
    window
        First and last cycle in the waves.
    **options
        Arguments of the host.

    Raises
    ------
    BuildError, NoSimulatorError
        As :func:`~sim.native.library.build_library`.

    Attributes
    ----------
    endpoint
        The compiled gateware.
    host, port, dma
        Its host side, its message streams and its DMA window.
    monitor
        Checks every TLP.
    runtime
        Tasks, events and time.
    parameters
        The parameters of the build.
    """

    def __init__(
        self,
        configuration: BuildConfiguration,
        *,
        waves: Path | None = None,
        window: tuple[int, int] = (0, FOREVER),
        **options: Any,
    ) -> None:
        self.parameters = _parameters(configuration)
        self.runtime = runtime = NativeRuntime()
        self.endpoint = endpoint = NativeEndpoint(
            build_library(configuration), waves=waves, window=window
        )
        runtime.advance = self._advance
        self.monitor = TlpMonitor(
            completion_timeout_ns=configuration.completion_timeout * CLOCK_PERIOD_NS,
            now=lambda: self.time_ns,
        )
        self.host = NativeHost(
            endpoint, self.monitor, runtime, num_fifos=configuration.num_fifos, **options
        )
        self.port = NativePort(endpoint, runtime)
        self.dma = NativeDma(endpoint, runtime)
        endpoint.listeners[Kind.HOST_RESET] = lambda detail, data: self._host_reset()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.endpoint.close()

    @property
    def cycles(self) -> int:
        """Clock cycles since time zero."""
        return self.endpoint.cycle

    @property
    def time_ns(self) -> float:
        """Simulated time, in nanoseconds."""
        return float(self.endpoint.cycle * CLOCK_PERIOD_NS)

    def run(self, program: Coroutine[Any, Any, Any]) -> Any:
        """Run ``program`` to its end; returns its result."""
        return self.runtime.run(program)

    async def start(self, **options: Any) -> None:
        """Reset the design, then let the host enumerate and enable it.

        Parameters
        ----------
        **options
            As :meth:`~testbench.host.endpoint.EndpointHost.start`.
        """
        await self.reset()
        await self.host.start(**options)

    async def reset(self) -> None:
        """Hold ``rst`` for a few cycles; drops what is under way."""
        self.endpoint.reset(RESET_CYCLES)
        self.monitor.reset()
        self.host.reset()
        self.host.memory.abandon()
        self.port.reset()
        self.dma.reset()
        await self.runtime.wait_cycles(RESET_CYCLES + 1)

    async def settle(self, cycles: int = 50) -> None:
        """Let ``cycles`` clock cycles pass; the default is longer than any access takes."""
        await self.runtime.wait_cycles(cycles)

    async def finish(self, *, refused_writes: int = 0) -> None:
        """As :meth:`testbench.bench.Bench.finish`."""
        await self.settle()
        self.monitor.finish()
        refused = self.host.memory.refused_writes
        if len(refused) != refused_writes:
            raise HostError(f"{len(refused)} writes were refused, not {refused_writes}: {refused}")

    def _advance(self, limit: int | None) -> bool:
        endpoint = self.endpoint
        if limit is None:
            happened = endpoint.run(BATCH_CYCLES, IDLE_CYCLES)
            happened = happened or endpoint.idle < IDLE_CYCLES
        else:
            happened = endpoint.run(limit)
        self.runtime.cycles = endpoint.cycle
        return happened

    def _host_reset(self) -> None:
        self.port.host_reset()


class NativeSystem(NativeBench):
    """A bench with one driver for each FIFO and the devices behind the endpoint.

    ``with NativeSystem([{0: EntropyDevice()}]) as system: system.run(program(system))``

    Parameters
    ----------
    devices_by_fifo
        The devices of each FIFO, by device number.
    configuration
        The build; the default is an endpoint with a FIFO for each entry of ``devices_by_fifo``.
    revision
        Wire revision of every FIFO's bus, by name or as an object.
    drivers
        Whether to create a driver for each FIFO.
    **options
        As :class:`NativeBench`.

    Raises
    ------
    MaximumSizeError
        Messages of the revision can exceed the slot size of the layout.

    Attributes
    ----------
    trace
        Records every message.
    buses, drivers, device_side
        As in :class:`~models.stack.BusStack`.
    """

    def __init__(
        self,
        devices_by_fifo: Sequence[Mapping[int, VirtioDevice]],
        configuration: BuildConfiguration | None = None,
        *,
        revision: str | Dialect = "v1",
        drivers: bool = True,
        **options: Any,
    ) -> None:
        if configuration is None:
            configuration = BuildConfiguration(num_fifos=len(devices_by_fifo))
        revision = dialect_on(layout_of(configuration.layout), revision)
        super().__init__(configuration, **options)
        self.trace = MessageTrace(revision=revision, now=lambda: self.time_ns)
        self.port.on_message = self.trace.record
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

    def observe(self, observer: MessageObserver) -> None:
        """Call ``observer`` with each message that the drivers send or receive."""
        self._stack.observe(observer)

    async def start(self, **options: Any) -> None:
        """As :meth:`NativeBench.start`; also start the device side and the drivers."""
        await super().start(**options)
        await self._stack.start()

    def _host_reset(self) -> None:
        super()._host_reset()
        self.device_side.reset()


def _parameters(configuration: BuildConfiguration) -> Parameters:
    return Parameters(
        top=configuration.top,
        num_fifos=configuration.num_fifos,
        data_width=configuration.data_width,
        completion_timeout=configuration.completion_timeout,
        dma=configuration.dma,
        block=configuration.block,
        shell=shell_of(configuration.shell),
        layout=layout_of(configuration.layout),
    )
