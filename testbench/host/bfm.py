# SPDX-License-Identifier: BSD-2-Clause
"""Bus functional models for the ports of the two tops: thin, fast, event-driven.

:class:`EndpointBfm` drives one raw TLP stream in and one out, with a minimal enumeration of the
function. :class:`CoreBfm` replaces a vendor's hard block: its requests carry the matching BAR, and
it drives the configuration pins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from models.config_space import (
    BUS_MASTER_ENABLE,
    COMMAND,
    EXTENDED_TAG_ENABLE,
    MEMORY_SPACE_ENABLE,
    bar_offset,
    coded_size,
    size_code,
)
from models.layout import SharedLayout
from models.shell import PciShell

from ..hard_block.confirmer import WRITES, Confirmer
from ..stream.tlp import TlpPacket, TlpSink, TlpSource
from ..tlp import CplStatus, Tlp, error_code, pcie_id
from ..tlp.monitor import bundles_of
from ..tlp.packets import config_read, config_write
from .requester import CompletionError, HostError
from .thin import TlpHost

MEMORY_WINDOW = 0xC000_0000
"""Bus address of the first BAR."""

PCI_EXPRESS_CAPABILITY_ID = 0x10
MSIX_CAPABILITY_ID = 0x11


@dataclass
class Enumerated:
    """Result of enumeration.

    Parameters
    ----------
    vendor_id, device_id, revision, class_code
        Identification in the type 0 header.
    bar_sizes
        Bytes of each implemented BAR.
    capabilities
        Configuration space offset of each capability, by capability id.
    msix_vectors
        Entries of the MSI-X table, 0 without MSI-X.
    msix_table, msix_pba
        BAR and byte offset.
    """

    vendor_id: int
    device_id: int
    revision: int
    class_code: int
    bar_sizes: dict[int, int] = field(default_factory=dict)
    capabilities: dict[int, int] = field(default_factory=dict)
    msix_vectors: int = 0
    msix_table: tuple[int, int] = (0, 0)
    msix_pba: tuple[int, int] = (0, 0)


class EndpointBfm(TlpHost):
    """Host side of ``rx_tlp`` and ``tx_tlp``.

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
    device_id
        16-bit bus, device and function number to assign to the function.
    **options
        As :class:`~testbench.host.thin.TlpHost`.

    Attributes
    ----------
    source, sink
        The streams; change their pacing here.
    sinks
        The sink by prefix, in the same form as :attr:`CoreBfm.sinks`.
    function
        The result of :meth:`start`, ``None`` before.
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
        device_id: int = pcie_id(0x2A, 0),
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.device_id = device_id
        self.source = TlpSource(dut, rx, clk=clk, reset=reset, idle=idle)
        self.sink = TlpSink(
            dut,
            tx,
            clk=clk,
            reset=reset,
            stall=stall,
            on_packet=self.receive_packet,
        )
        self.sinks = {tx: self.sink}
        self.function: Enumerated | None = None

    def sink_of(self, bundle: str) -> TlpSink:
        """The sink that receives the packets of a core's ``bundle``: the only one."""
        return self.sink

    def send_nowait(self, tlp: Tlp, *, bar: int = 0) -> None:
        """Queue a packet unchanged; the raw stream does not carry ``bar``."""
        self.source.send_nowait(TlpPacket(tlp))

    async def send(self, tlp: Tlp, *, bar: int = 0) -> None:
        """As :meth:`send_nowait`; return when the design has accepted the packet."""
        await self.source.send(TlpPacket(tlp))

    def complete_nowait(self, tlp: Tlp) -> None:
        """Queue a completion of one of the design's requests, unchanged."""
        self.send_nowait(tlp)

    async def config_read(self, offset: int, size: int = 4) -> int:
        """Read ``size`` bytes, 1 to 4 within a dword, at byte ``offset`` of configuration space.

        Raises
        ------
        CompletionError
            The completion status is not successful.
        """
        request = config_read(self.device_id, offset, first_be=_lanes(offset, size))
        answer = await self._configure(request)
        if len(answer.payload) != 4:
            raise HostError(f"{request} was completed without data: {answer}")
        value = int.from_bytes(answer.payload, "little") >> 8 * (offset & 3)
        return value & (1 << 8 * size) - 1

    async def config_write(self, offset: int, value: int, size: int = 4) -> None:
        """Write ``size`` bytes, 1 to 4 within a dword, at byte ``offset`` of configuration space.

        Raises
        ------
        CompletionError
            The completion status is not successful.
        """
        lanes = _lanes(offset, size)
        await self._configure(
            config_write(self.device_id, offset, value << 8 * (offset & 3), first_be=lanes)
        )

    async def _configure(self, request: Tlp) -> Tlp:
        answers = await self.request(request)
        if answers[0].status != CplStatus.SC:
            raise CompletionError(request, answers[0])
        return answers[0]

    async def start(self, *, msix: bool = True, bus_master: bool = True) -> Enumerated:
        """Enumerate the function, assign its BARs, set payload sizes and enable it.

        Parameters
        ----------
        msix
            Whether to write and unmask the MSI-X table and to enable MSI-X.
        bus_master
            Whether to set Bus Master Enable.

        Raises
        ------
        HostError
            There is no function, or a register has an invalid value.
        """
        identity = await self.config_read(0x00)
        if identity & 0xFFFF in (0x0000, 0xFFFF):
            raise HostError(f"no function at {self.device_id:#06x}: vendor id reads {identity:#x}")
        class_revision = await self.config_read(0x08)
        function = Enumerated(
            vendor_id=identity & 0xFFFF,
            device_id=identity >> 16,
            revision=class_revision & 0xFF,
            class_code=class_revision >> 8,
        )
        await self._place_bars(function)
        await self._walk_capabilities(function)
        await self._set_payload_sizes(function)
        command = MEMORY_SPACE_ENABLE.mask | bus_master * BUS_MASTER_ENABLE.mask
        await self.config_write(COMMAND, command, 2)
        if MSIX_CAPABILITY_ID in function.capabilities:
            await self._find_msix(function)
            if msix:
                await self.write_msix_table(*function.msix_table, function.msix_vectors)
                await self.set_msix_control(function, enable=True)
        self.function = function
        return function

    async def restore(self) -> None:
        """Enable the function again after a reset, as :meth:`start` but without enumeration.

        Raises
        ------
        HostError
            The function has not been enumerated before.
        """
        function = self.function
        if function is None:
            raise HostError("the function is not enumerated: call start() first")
        for bar, address in self.bars.items():
            await self.config_write(bar_offset(bar), address)
        await self._set_payload_sizes(function)
        await self.config_write(COMMAND, MEMORY_SPACE_ENABLE.mask | BUS_MASTER_ENABLE.mask, 2)
        bar, offset = function.msix_table
        await self.bar_write(bar, offset, self.msix_table(function.msix_vectors))
        await self.set_msix_control(function, enable=True)

    async def set_msix_control(
        self, function: Enumerated | None = None, *, enable: bool, mask: bool = False
    ) -> None:
        """Set MSI-X Enable and Function Mask."""
        function = function or self.function
        if function is None or MSIX_CAPABILITY_ID not in function.capabilities:
            raise HostError("no MSI-X capability found: call start() first")
        control = function.capabilities[MSIX_CAPABILITY_ID] + 2
        await self.config_write(control, enable << 15 | mask << 14, 2)

    async def _place_bars(self, function: Enumerated) -> None:
        self.bars.clear()
        address = MEMORY_WINDOW
        bar = 0
        while bar < 6:
            register = bar_offset(bar)
            await self.config_write(register, 0xFFFF_FFFF)
            probe = await self.config_read(register)
            is_64_bit = probe & 0b111 == 0b100
            if is_64_bit:
                await self.config_write(register + 4, 0xFFFF_FFFF)
                probe |= await self.config_read(register + 4) << 32
            if probe & ~0xF:
                if probe & 1:
                    raise HostError(f"BAR{bar} reads {probe:#x}: only memory BARs are supported")
                size = (~(probe & ~0xF) & (1 << 64 if is_64_bit else 1 << 32) - 1) + 1
                address = (address + size - 1) & -size
                await self.config_write(register, address)
                if is_64_bit:
                    await self.config_write(register + 4, 0)
                function.bar_sizes[bar] = size
                self.bars[bar] = address
                address += size
            bar += 2 if is_64_bit else 1

    async def _walk_capabilities(self, function: Enumerated) -> None:
        offset = await self.config_read(0x34, 1)
        while offset:
            if offset < 0x40 or offset in function.capabilities.values():
                raise HostError(f"capability pointer {offset:#x} is below 0x40 or in a loop")
            entry = await self.config_read(offset & ~3, 2)
            function.capabilities[entry & 0xFF] = offset
            offset = entry >> 8

    async def _set_payload_sizes(self, function: Enumerated) -> None:
        capability = function.capabilities.get(PCI_EXPRESS_CAPABILITY_ID)
        if capability is None:
            raise HostError("no PCI Express capability found")
        supported = coded_size(await self.config_read(capability + 4) & 7)
        self.max_payload_size = min(self.max_payload_size, supported)
        control = await self.config_read(capability + 8, 2) & ~0x70E0 & ~EXTENDED_TAG_ENABLE.mask
        control |= self.extended_tags * EXTENDED_TAG_ENABLE.mask
        control |= size_code(self.max_payload_size) << 5
        control |= size_code(self.max_read_request_size) << 12
        await self.config_write(capability + 8, control, 2)

    async def _find_msix(self, function: Enumerated) -> None:
        capability = function.capabilities[MSIX_CAPABILITY_ID]
        function.msix_vectors = (await self.config_read(capability + 2, 2) & 0x7FF) + 1
        table = await self.config_read(capability + 4)
        pending = await self.config_read(capability + 8)
        function.msix_table = (table & 7, table & ~7)
        function.msix_pba = (pending & 7, pending & ~7)


class CoreBfm(TlpHost):
    """Replaces the hard block in front of ``amp_pci_core``.

    Parameters
    ----------
    dut
        The design's top.
    shell, layout
        Define the BARs and their sizes.
    clk, reset
        Handles; the default is ``dut.clk`` and, if it exists, ``dut.rst``.
    idle, stall
        As :class:`EndpointBfm`, for requests to the design and completions from it.
    completion_idle
        Idle cycles before the beats of completions to the design.
    read_stall, write_stall
        Back-pressure on the design's reads and writes.
    confirmation_delay
        Cycles until a write has left the hard block, for a design that waits for this confirmation.
    device_id
        16 bits for ``completer_id`` and ``requester_id``.
    **options
        As :class:`~testbench.host.thin.TlpHost`.

    Attributes
    ----------
    source
        Requests to the design.
    completion_source
        Completions to the design.
    completion_error
        Returns the error code of a completion to the design; the default is :func:`error_code`.
    sinks
        Streams from the design, by prefix.
    confirmer
        Confirms the design's writes, ``None`` for a design without this port.
    """

    def __init__(
        self,
        dut: Any,
        *,
        shell: PciShell,
        layout: SharedLayout,
        clk: Any = None,
        reset: Any = None,
        idle: Iterable[int] | None = None,
        stall: Iterable[int] | None = None,
        completion_idle: Iterable[int] | None = None,
        read_stall: Iterable[int] | None = None,
        write_stall: Iterable[int] | None = None,
        confirmation_delay: Iterable[int] | None = None,
        device_id: int = pcie_id(0x2A, 0),
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.dut = dut
        self.shell = shell
        self.device_id = device_id
        address = MEMORY_WINDOW
        for bar, size in shell.bar_sizes(self.num_fifos, layout).items():
            address = (address + size - 1) & -size
            self.bars[bar] = address
            address += size
        self.source = TlpSource(dut, "rx_req_tlp", clk=clk, reset=reset, idle=idle)
        stalls = {
            "tx_cpl_tlp": stall,
            "tx_msix_wr_req_tlp": None,
            "tx_rd_req_tlp": read_stall,
            "tx_wr_req_tlp": write_stall,
        }
        self.sinks = {
            prefix: TlpSink(
                dut,
                prefix,
                clk=clk,
                reset=reset,
                stall=stalls[prefix],
                on_packet=self.receive_packet,
            )
            for prefix in bundles_of(dut)
        }
        self.confirmer = Confirmer.attach(
            dut, self.sinks, clk=clk, reset=reset, delays=confirmation_delay
        )
        self.completion_source = TlpSource(
            dut, "rx_cpl_tlp", clk=clk, reset=reset, idle=completion_idle
        )
        self.completion_error: Callable[[Tlp], int] = error_code
        self.set_pins(
            completer_id=device_id,
            requester_id=device_id,
            max_payload_size=size_code(self.max_payload_size),
            max_read_request_size=size_code(self.max_read_request_size),
            rcb_128b=int(self.memory.read_completion_boundary == 128),
            ext_tag_enable=int(self.extended_tags),
            bus_master_enable=0,
            msix_enable=0,
            msix_mask=0,
            function_reset=0,
            msix_refused=0,
        )

    def sink_of(self, bundle: str) -> TlpSink:
        """The sink of ``bundle``, or of the writes if the design has no such bundle."""
        return self.sinks.get(bundle) or self.sinks[WRITES]

    def set_pins(self, **values: int) -> None:
        """Drive configuration pins by name; names without a port are ignored."""
        for name, value in values.items():
            handle = getattr(self.dut, name, None)
            if handle is not None:
                handle.value = value

    def send_nowait(self, tlp: Tlp, *, bar: int = 0) -> None:
        """Queue a packet unchanged, with ``bar`` as the matching BAR."""
        self.source.send_nowait(TlpPacket(tlp, bar_id=bar))

    async def send(self, tlp: Tlp, *, bar: int = 0) -> None:
        """As :meth:`send_nowait`; return when the design has accepted the packet."""
        await self.source.send(TlpPacket(tlp, bar_id=bar))

    def complete_nowait(self, tlp: Tlp) -> None:
        """Queue a completion of one of the design's requests, unchanged."""
        self.completion_source.send_nowait(TlpPacket(tlp, error=self.completion_error(tlp)))

    async def start(self, *, msix: bool = True, bus_master: bool = True) -> None:
        """Set Bus Master Enable; write the MSI-X table and enable MSI-X."""
        self.set_pins(bus_master_enable=int(bus_master))
        if msix:
            vectors = self.shell.num_vectors(self.num_fifos)
            await self.write_msix_table(self.shell.msix_bar, self.shell.msix_table_offset, vectors)
            self.set_pins(msix_enable=1)

    async def restore(self) -> None:
        """Write the MSI-X table again after a reset; enable bus mastering and MSI-X."""
        table = self.msix_table(self.shell.num_vectors(self.num_fifos))
        await self.bar_write(self.shell.msix_bar, self.shell.msix_table_offset, table)
        self.set_pins(bus_master_enable=1, msix_enable=1)


def _lanes(offset: int, size: int) -> int:
    if not 1 <= size <= 4 - (offset & 3):
        raise ValueError(f"size is {size} at offset {offset:#x}: must stay within a dword")
    return (1 << size) - 1 << (offset & 3)
