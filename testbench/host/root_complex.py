# SPDX-License-Identifier: BSD-2-Clause
"""Connects cocotbext-pcie's root complex to a design's raw TLP ports.

The design is any endpoint with one TLP stream in and one out (:mod:`testbench.stream.tlp`) that
implements configuration space: it receives configuration requests like all others. ::

    endpoint = RawTlpDevice(dut)
    rc = RootComplex()
    rc.make_port().connect(endpoint)
    await rc.enumerate()
    function = rc.find_device(PcieId(1, 0, 0))
    await function.enable_device()
    await function.set_master()
    await function.alloc_irq_vectors(1, 32)
    await function.bar_window[0].read(0, 4)

Interrupts: ``function.request_irq(n, async_function)`` or ``function.msi_vectors[n].event``;
``msi_get_event`` of cocotbext-pcie 0.2.16 does not work.

Cost: no task, here or in cocotbext-pcie's link model, wakes on clock edges. Each end of the link
refreshes its flow-control credits every 10 µs of simulated time, and each packet costs timers and
acknowledgements on the link: about 1 ms of wall time for a write, 4 ms for a read. For high volume
use :mod:`testbench.host.bfm`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import cocotb
from cocotb.triggers import Event
from cocotbext.pcie.core import RootComplex
from cocotbext.pcie.core.device import Device
from cocotbext.pcie.core.utils import PcieId

from models import runtime as contract
from models.bus import InterruptLog
from models.config_space import size_code

from ..stream.tlp import TlpPacket, TlpSink, TlpSource
from ..tlp import TlpKind, from_cocotbext, to_cocotbext
from .requester import HostError
from .root_memory import RootComplexMemory


class RawTlpDevice(Device):
    """A device on a simulated link, implemented by the design.

    Flow control is modelled: credits of a packet return to the root port when the design has
    accepted the packet's last beat, and the design sees back-pressure while the link has no
    credits.

    Parameters
    ----------
    dut
        The design's top.
    clk, reset
        Handles; the default is ``dut.clk`` and, if it exists, ``dut.rst``.
    rx, tx
        Prefixes of the bundles into and out of the design.
    idle, stall
        Idle cycles on the way in and back-pressure on the way out (:mod:`testbench.stream.pacing`).
    max_queued
        Packets from the design that may wait for the link.

    Attributes
    ----------
    source, sink
        The streams; change their pacing here.
    """

    def __init__(
        self,
        dut: Any,
        *,
        clk: Any = None,
        reset: Any = None,
        rx: str = "rx_tlp",
        tx: str = "tx_tlp",
        idle: Iterable[int] | None = None,
        stall: Iterable[int] | None = None,
        max_queued: int = 4,
    ) -> None:
        super().__init__()
        self.source = TlpSource(dut, rx, clk=clk, reset=reset, idle=idle)
        self.sink = TlpSink(dut, tx, clk=clk, reset=reset, stall=stall, max_queued=max_queued)
        self._task = cocotb.start_soon(self._forward())

    async def upstream_recv(self, tlp: Any) -> None:
        """Pass a packet from the link to the design; called by the link."""
        packet = from_cocotbext(tlp)
        if packet.kind == TlpKind.CFGWR0:
            # Used in log lines only: the design captures its bus number itself.
            self.bus_num = tlp.completer_id.bus
        await self.source.send(TlpPacket(packet))
        tlp.release_fc()

    async def _forward(self) -> None:
        while True:
            packet = await self.sink.recv()
            await self.upstream_send(to_cocotbext(packet.tlp))


class RootComplexHost:
    """A host with the root complex model; implements the ``HostFunction`` contract.

    Parameters
    ----------
    dut
        The design's top.
    num_fifos
        Number of FIFOs of the design, for users of this host; the host itself does not use it.
    max_payload_size
        Max_Payload_Size of the root complex in bytes, 128 to 4,096.
    rc
        The root complex; the default is a new one.
    endpoint
        The device on its link; the default is a :class:`RawTlpDevice`.
    memory_base
        As ``base`` of :class:`~testbench.host.root_memory.RootComplexMemory`.
    **options
        As :class:`RawTlpDevice`.

    Attributes
    ----------
    rc, endpoint
        The root complex and the device on its link.
    memory
        The root complex's memory, which the function may read and write.
    function
        The :class:`cocotbext.pcie.core.pci.PciDevice` found by enumeration, after :meth:`start`.
    vectors
        Number of its MSI-X vectors.
    interrupts
        Number of MSI-X writes received for each vector.
    """

    def __init__(
        self,
        dut: Any,
        *,
        num_fifos: int = 1,
        max_payload_size: int = 128,
        rc: Any = None,
        endpoint: Any = None,
        memory_base: int = 0,
        **options: Any,
    ) -> None:
        self.num_fifos = num_fifos
        self.rc = RootComplex() if rc is None else rc
        self.rc.max_payload_size = size_code(max_payload_size)
        self.memory = RootComplexMemory(self.rc, base=memory_base)
        self.endpoint = RawTlpDevice(dut, **options) if endpoint is None else endpoint
        self.rc.make_port().connect(self.endpoint)
        self.function: Any = None
        self.vectors = 0
        self._interrupts = InterruptLog(Event)
        self.interrupts = self._interrupts.counts

    async def start(self, *, msix: bool = True, max_vectors: int = 2048) -> Any:
        """Enumerate, enable the function and bus mastering, and configure MSI-X.

        Returns
        -------
        cocotbext.pcie.core.pci.PciDevice
            The function; also in ``function``.

        Raises
        ------
        HostError
            Enumeration found no function, or it has no interrupt vectors.
        """
        await self.rc.enumerate()
        self.function = self.rc.find_device(PcieId(1, 0, 0))
        if self.function is None:
            raise HostError("enumeration found no function at 01:00.0")
        await self.function.enable_device()
        await self.function.set_master()
        if msix:
            self.vectors = await self.function.alloc_irq_vectors(1, max_vectors)
            if self.vectors < 1:
                raise HostError("the function has no interrupt vectors")
            for vector in range(self.vectors):
                self.interrupts[vector] = 0
                self.function.request_irq(vector, self._listener(vector))
        return self.function

    def _listener(self, vector: int) -> Any:
        async def interrupted() -> None:
            self._interrupts.record(vector)

        return interrupted

    async def bar_read(self, bar: int, offset: int, size: int) -> bytes:
        """Read ``size`` bytes at byte ``offset`` of BAR ``bar``.

        Raises
        ------
        HostError
            The read failed or timed out.
        """
        window = self._window(bar)
        try:
            return bytes(await window.read(offset, size))
        except Exception as error:
            raise HostError(f"read of {size} bytes at BAR{bar}+{offset:#x}: {error}") from error

    async def bar_write(self, bar: int, offset: int, data: bytes) -> None:
        """Write ``data`` at byte ``offset`` of BAR ``bar``.

        Writes are posted: the call returns before the design has received them. Writes do not
        overtake each other, and reads do not overtake them.
        """
        await self._window(bar).write(offset, data)

    def interrupt(self, vector: int) -> contract.Event:
        """Create an event that every MSI-X write of ``vector`` sets from now on.

        Each call returns a separate event; its waiter clears it.
        """
        return self._interrupts.event(vector)

    def _window(self, bar: int) -> Any:
        window = None if self.function is None else self.function.bar_window[bar]
        if window is None:
            raise HostError(f"BAR{bar} does not exist, or start() was not called")
        return window
