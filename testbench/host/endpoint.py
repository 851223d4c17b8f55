# SPDX-License-Identifier: BSD-2-Clause
"""The host of an endpoint: configuration accesses and a minimal enumeration of the function."""

from __future__ import annotations

from abc import abstractmethod
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

from ..tlp import CplStatus, Tlp, pcie_id
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


class EndpointHost(TlpHost):
    """Base of the hosts of an endpoint's raw TLP stream.

    Parameters
    ----------
    device_id
        16-bit bus, device and function number to assign to the function.
    **options
        As :class:`~testbench.host.thin.TlpHost`.

    Attributes
    ----------
    function
        The result of :meth:`start`, ``None`` before.
    """

    def __init__(self, *, device_id: int = pcie_id(0x2A, 0), **options: Any) -> None:
        super().__init__(**options)
        self.device_id = device_id
        self.function: Enumerated | None = None

    @property
    @abstractmethod
    def pending(self) -> int:
        """Packets that the design has not accepted yet."""

    @property
    @abstractmethod
    def received(self) -> int:
        """Packets that the design has sent."""

    @abstractmethod
    async def drained(self) -> None:
        """Return when the design has accepted all packets."""

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


def _lanes(offset: int, size: int) -> int:
    if not 1 <= size <= 4 - (offset & 3):
        raise ValueError(f"size is {size} at offset {offset:#x}: must stay within a dword")
    return (1 << size) - 1 << (offset & 3)
