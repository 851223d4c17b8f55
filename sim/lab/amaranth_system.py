# SPDX-License-Identifier: BSD-2-Clause
"""The gateware in Amaranth's own simulator, with drivers and devices: no Verilog, no compiler.

:class:`AmaranthSystem` corresponds to :class:`models.system.ModelSystem`, which runs the golden
endpoint; both run on asyncio. It simulates :class:`~hdl.core.AmpPciCore` without Yosys, as a
reference for the other simulators, which run Yosys's Verilog. Devices access host memory directly
here, not through the gateware's DMA window.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from amaranth.sim import Simulator

from hdl.core import AmpPciCore
from models.bus import InterruptLog, MessageObserver
from models.devices import VirtioDevice
from models.host_memory import MemoryModel
from models.layout import SPSC_PAGES, SharedLayout
from models.messages import Dialect
from models.msix import ENTRY
from models.runtime import AsyncioRuntime, Event, Lock
from models.shell import AMP_PCI, PciShell
from models.stack import BusStack
from testbench.host.requester import read_data, split
from testbench.stream.axis import AxisAssembler, AxisMessage
from testbench.stream.framing import Beat
from testbench.stream.tlp import TlpAssembler, TlpPacket
from testbench.tlp import Tlp
from testbench.tlp.packets import memory_read, memory_write, more_to_come

CLOCK_PERIOD_NS = 4
MAX_PAYLOAD = 128
"""Bytes: the longest write and the longest read request."""
MSI_ADDRESS = 0xFEE0_0000
TIMEOUT_US = 1000.0
"""Simulated time that a driver waits for a response."""


class SimulatedTime(AsyncioRuntime):
    """asyncio's tasks and events with simulated time.

    Attributes
    ----------
    cycles
        Clock cycles so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.cycles = 0
        self._sequence = itertools.count()
        self._timers: list[tuple[float, int, asyncio.Future[None]]] = []

    async def wait(self, event: Event, timeout_us: float | None = None) -> bool:
        """As :meth:`models.runtime.Runtime.wait`."""
        if event.is_set() or timeout_us is None:
            await event.wait()
            return True
        due = self.cycles + timeout_us * 1000 / CLOCK_PERIOD_NS
        timer = asyncio.get_running_loop().create_future()
        heapq.heappush(self._timers, (due, next(self._sequence), timer))
        waiting = asyncio.ensure_future(event.wait())
        try:
            await asyncio.wait({waiting, timer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            timer.cancel()
        return event.is_set()

    def advance_cycle(self) -> None:
        """Count one cycle and wake the tasks whose timeout ends with it."""
        self.cycles += 1
        while self._timers and self._timers[0][0] <= self.cycles:
            _, _, timer = heapq.heappop(self._timers)
            if not timer.done():
                timer.set_result(None)


class _BeatQueue:
    """Queue of beats that drives an input stream of the design."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self._beats: deque[tuple[Beat, asyncio.Future[None] | None]] = deque()
        self._valid = False

    async def send(self, beats: Iterator[Beat]) -> None:
        """Send ``beats``; returns once the design has accepted the last of them."""
        *others, last = beats
        accepted = asyncio.get_running_loop().create_future()
        self._beats.extend((beat, None) for beat in others)
        self._beats.append((last, accepted))
        await accepted

    def drive(self, ctx: Any) -> None:
        """Drive the next beat, if there is one."""
        self._valid = bool(self._beats)
        ctx.set(self.stream.valid, self._valid)
        if self._valid:
            for name, value in self._beats[0][0].items():
                ctx.set(self.stream.payload[name], value)

    def advance(self, ready: int) -> None:
        """Retire the beat if the design accepted it at this clock edge: ``ready`` was set."""
        if self._valid and ready:
            _, accepted = self._beats.popleft()
            if accepted is not None and not accepted.done():
                accepted.set_result(None)


class AmaranthSystem:
    """A host with one driver for each FIFO, the core in Amaranth's simulator, devices behind it.

    ``async with AmaranthSystem([{0: EntropyDevice()}]) as system: ...``

    Parameters
    ----------
    devices_by_fifo
        For each FIFO its devices by number. The design gets one FIFO for each entry.
    data_width
        Data width of the gateware, bits.
    shell, layout, revision
        PCI shell, layout of the shared area and wire revision, independent of each other.

    Raises
    ------
    MaximumSizeError
        The revision's messages may be larger than the layout's slots.

    Attributes
    ----------
    host, port
        The interfaces of :mod:`models.bus`; this object implements both.
    memory
        The host's memory.
    runtime
        The tasks, and the clock cycles in :attr:`SimulatedTime.cycles`.
    interrupts
        MSI-X messages received, by vector.
    buses, drivers
        One for each FIFO.
    device_side
        The transports.
    """

    def __init__(
        self,
        devices_by_fifo: Sequence[Mapping[int, VirtioDevice]],
        *,
        data_width: int = 64,
        shell: PciShell = AMP_PCI,
        layout: SharedLayout = SPSC_PAGES,
        revision: str | Dialect = "v1",
    ) -> None:
        self.num_fifos = len(devices_by_fifo)
        self.runtime = SimulatedTime()
        self.memory = MemoryModel()
        self._interrupts = InterruptLog(self.runtime.event)
        self.interrupts = self._interrupts.counts
        self._vectors = shell.num_vectors(self.num_fifos)
        self.interrupts.update(dict.fromkeys(range(self._vectors), 0))
        self._shell = shell
        self._data_width = data_width
        self._dut = AmpPciCore(
            num_fifos=self.num_fifos,
            data_width=data_width,
            shell=shell,
            layout=layout,
            # The device side accesses the host's memory without the gateware.
            dma=False,
        )
        self._simulator = Simulator(self._dut)
        self._simulator.add_clock(CLOCK_PERIOD_NS * 1e-9)
        self._requests = _BeatQueue(self._dut.rx_req_tlp)
        self._messages = _BeatQueue(self._dut.s_axis_msg)
        self._received: asyncio.Queue[AxisMessage] = asyncio.Queue()
        self._read_lock = Lock(self.runtime)
        self._completions: asyncio.Queue[Tlp] = asyncio.Queue()
        self._queue_ready = 0
        self._queue_ready_changed = self.runtime.event()
        self._send_locks: dict[int, Lock] = {}
        self._clock: asyncio.Task[None] | None = None
        self.host = self.port = self
        self._stack = BusStack(
            self.host,
            self.port,
            devices_by_fifo,
            self.runtime,
            dma=self.memory,
            shell=shell,
            layout=layout,
            revision=revision,
            timeout_us=TIMEOUT_US,
        )
        self.buses = self._stack.buses
        self.drivers = self._stack.drivers
        self.device_side = self._stack.device_side
        # Last: it creates a coroutine, never awaited if a parameter is invalid.
        self._simulator.add_testbench(self._pins, background=True)

    def observe(self, observer: MessageObserver) -> None:
        """Call ``observer`` for each message that the drivers send or receive."""
        self._stack.observe(observer)

    async def __aenter__(self) -> AmaranthSystem:
        self._clock = asyncio.create_task(self._run())
        await self._enable()
        await self._stack.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stack.stop()
        if self._clock is not None:
            self._clock.cancel()

    # Host side

    async def bar_read(self, bar: int, offset: int, size: int) -> bytes:
        """As :meth:`models.bus.HostFunction.bar_read`."""
        data = b""
        async with self._read_lock:
            for address, count in split(_address(bar, offset), size, MAX_PAYLOAD):
                request = memory_read(address, count)
                await self._requests.send(_on_bar(request.beats(self._data_width), bar))
                completions = [await self._completions.get()]
                while more_to_come(completions[-1]):
                    completions.append(await self._completions.get())
                data += read_data(request, count, completions)
        return data

    async def bar_write(self, bar: int, offset: int, data: bytes) -> None:
        """As :meth:`models.bus.HostFunction.bar_write`."""
        sent = 0
        for address, count in split(_address(bar, offset), len(data), MAX_PAYLOAD):
            request = memory_write(address, data[sent : sent + count])
            await self._requests.send(_on_bar(request.beats(self._data_width), bar))
            sent += count

    def interrupt(self, vector: int) -> Event:
        """As :meth:`models.bus.HostFunction.interrupt`."""
        return self._interrupts.event(vector)

    async def _enable(self) -> None:
        for vector in range(self._vectors):
            entry = ENTRY.pack(MSI_ADDRESS, vector, 0)
            await self.bar_write(self._shell.msix_bar, self._shell.msix_entry(vector), entry)

    # Device side

    async def receive(self) -> tuple[int, bytes]:
        """As :meth:`models.bus.DevicePort.receive`."""
        message = await self._received.get()
        return message.fifo, message.data

    async def send(self, fifo: int, message: bytes) -> None:
        """As :meth:`models.bus.DevicePort.send`. This host never resets the function."""
        async with self._send_locks.setdefault(fifo, Lock(self.runtime)):
            while not self._queue_ready >> fifo & 1:
                self._queue_ready_changed.clear()
                await self._queue_ready_changed.wait()
            await self._messages.send(AxisMessage(fifo, message).beats(self._data_width))

    # Pins

    async def _run(self) -> None:
        while True:
            # One step for each clock edge, rising and falling.
            self._simulator.advance()
            self._simulator.advance()
            self.runtime.advance_cycle()
            await asyncio.sleep(0)

    async def _pins(self, ctx: Any) -> None:
        dut = self._dut
        sources = (self._requests, self._messages)
        sinks: tuple[tuple[Any, Any, Callable[[Any], None]], ...] = (
            (dut.tx_cpl_tlp, TlpAssembler("tx_cpl_tlp", self._data_width), self._on_completion),
            (dut.tx_msix_wr_req_tlp, TlpAssembler("tx_msix_wr_req_tlp", 32), self._on_interrupt),
            (dut.m_axis_msg, AxisAssembler("m_axis_msg", self._data_width), self._on_message),
        )
        for stream, _, _ in sinks:
            ctx.set(stream.ready, 1)
        for pin in (dut.bus_master_enable, dut.msix_enable):
            ctx.set(pin, 1)
        while True:
            for source in sources:
                source.drive(ctx)
            tick = ctx.tick().sample(
                dut.device_queue_ready,
                *(source.stream.ready for source in sources),
                *itertools.chain.from_iterable((sink.valid, sink.payload) for sink, _, _ in sinks),
            )
            _, _, queue_ready, *samples = await tick
            if queue_ready != self._queue_ready:
                self._queue_ready = queue_ready
                self._queue_ready_changed.set()
            for source, ready in zip(sources, samples, strict=False):
                source.advance(ready)
            sink_samples = iter(samples[len(sources) :])
            for sink, assembler, deliver in sinks:
                valid, payload = next(sink_samples), next(sink_samples)
                if valid:
                    fields = dict(sink.payload.shape())
                    packet = assembler.feed({name: int(payload[name]) for name in fields})
                    if packet is not None:
                        deliver(packet)

    def _on_completion(self, packet: TlpPacket) -> None:
        self._completions.put_nowait(packet.tlp)

    def _on_interrupt(self, packet: TlpPacket) -> None:
        self._interrupts.record(int.from_bytes(packet.tlp.payload, "little"))

    def _on_message(self, message: AxisMessage) -> None:
        self._received.put_nowait(message)


def _address(bar: int, offset: int) -> int:
    """Host address in BAR ``bar``; the core decodes only the offset."""
    return (1 + bar << 24) + offset


def _on_bar(beats: Iterator[Beat], bar: int) -> Iterator[Beat]:
    return ({**beat, "bar_id": bar, "func_num": 0} for beat in beats)
