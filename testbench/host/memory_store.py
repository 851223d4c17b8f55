# SPDX-License-Identifier: BSD-2-Clause
"""Contents and allocations of a host's memory, independent of the bus.

Allocations may be anywhere in the 64-bit address space; other addresses have no memory.
"""

from __future__ import annotations

from dataclasses import dataclass

from models.dma import PAGE
from models.host_memory import (
    GUARD,
    AllocationMap,
    MemoryAccessError,
    align_up,
    check_allocation,
    outside_allocation,
)

from ..tlp import Tlp
from ..tlp.traffic import byte_mask

LINE = 64
"""Bytes of a cache line; no beat of an AXI burst is longer."""
JUNK = 0xDB
"""Value of bytes that are not enabled or not allocated."""
ADDRESS_END = 1 << 64


@dataclass(slots=True)
class Block:
    """An allocation.

    Parameters
    ----------
    start, end
        Bus addresses of its first byte and of the byte after its last.
    lines
        Contents of every cache line that overlaps it.
    """

    start: int
    end: int
    lines: bytearray

    @property
    def base(self) -> int:
        """Bus address of the first byte of ``lines``."""
        return self.start & -LINE


class SparseMemory:
    """Implements :class:`models.dma.HostMemory`, and executes a bus master's requests.

    Parameters
    ----------
    base
        Default lowest address of an allocation.
    """

    def __init__(self, *, base: int) -> None:
        self.base = base
        self._blocks: AllocationMap[Block] = AllocationMap()

    def allocate(self, size: int, align: int = PAGE, *, base: int | None = None) -> int:
        """Allocate ``size`` bytes of zeroed memory; return its bus address.

        Parameters
        ----------
        size
            Bytes, 1 or more.
        align
            Alignment of the address in bytes, a power of two.
        base
            Lowest address of the allocation, ``None`` for the default. Address 0 is never
            allocated: drivers use it for no memory.

        Raises
        ------
        ValueError
            ``size`` or ``align`` is invalid.
        MemoryAccessError
            There is no space.
        """
        check_allocation(size, align)
        start = align_up(max(self.base if base is None else base, PAGE), align)
        for block in self._blocks:
            if start < block.end + GUARD and block.start < start + size + GUARD:
                start = align_up(block.end + GUARD, align)
        if start + size > ADDRESS_END:
            raise MemoryAccessError(f"no space for {size} bytes from {start:#x} up")
        lines = bytearray([JUNK]) * (align_up(start + size, LINE) - (start & -LINE))
        block = Block(start, start + size, lines)
        lines[start - block.base : start + size - block.base] = bytes(size)
        self._blocks.add(start, block)
        return start

    def free(self, address: int) -> None:
        """As :meth:`models.dma.ReclaimingMemory.free`; requests to it are unsupported afterwards.

        Raises
        ------
        MemoryAccessError
            No allocation starts at ``address``.
        """
        self._blocks.remove(address)

    async def read(self, address: int, size: int) -> bytes:
        """Read ``size`` bytes from ``address`` as host software.

        Raises
        ------
        MemoryAccessError
            The bytes are not all in one allocation.
        """
        block = self._allocation(address, size)
        offset = address - block.base
        return bytes(block.lines[offset : offset + size])

    async def write(self, address: int, data: bytes) -> None:
        """Write ``data`` at ``address`` as host software.

        Raises
        ------
        MemoryAccessError
            The bytes are not all in one allocation.
        """
        block = self._allocation(address, len(data))
        offset = address - block.base
        block.lines[offset : offset + len(data)] = data

    def load(self, request: Tlp) -> bytes | None:
        """Execute a memory read: return whole dwords, or ``None`` if there is no memory.

        A read may cover whole cache lines that overlap one allocation: an AXI read has no byte
        enables, so a device reads whole beats. Unallocated and disabled bytes read as
        :data:`JUNK`.
        """
        mask = byte_mask(request)
        first, end = _span(mask)
        block = self._block_at(request.address + first)
        if block is None or request.address + end > block.base + len(block.lines):
            return None
        data = bytearray([JUNK]) * (4 * request.length)
        offset = request.address - block.base
        data[first:end] = block.lines[offset + first : offset + end]
        for byte in _holes(mask, first, end):
            data[byte] = JUNK
        return bytes(data)

    def store(self, request: Tlp) -> bool:
        """Execute a memory write: store the enabled bytes.

        Returns
        -------
        bool
            Whether the payload is complete and all enabled bytes are in one allocation; otherwise
            nothing is stored.
        """
        if len(request.payload) != 4 * request.length:
            return False
        mask = byte_mask(request)
        first, end = _span(mask)
        start = request.address + first
        block = self._block_at(start)
        if block is None or start < block.start or request.address + end > block.end:
            return False
        offset = request.address - block.base
        data = bytearray(request.payload[first:end])
        for byte in _holes(mask, first, end):
            data[byte - first] = block.lines[offset + byte]
        block.lines[offset + first : offset + end] = data
        return True

    def _block_at(self, address: int) -> Block | None:
        """The allocation whose cache lines contain ``address``."""
        # The cache line of the address may start before the allocation does.
        found = self._blocks.last_before(address | LINE - 1)
        if found is None:
            return None
        _, block = found
        return block if block.base <= address < block.base + len(block.lines) else None

    def _allocation(self, address: int, size: int) -> Block:
        block = self._block_at(address)
        if block is None or address < block.start or address + size > block.end:
            raise outside_allocation(address, size)
        return block


def _span(mask: int) -> tuple[int, int]:
    """Range of the enabled bytes, first and end; the first byte for a zero-length request."""
    if not mask:
        return 0, 1
    return (mask & -mask).bit_length() - 1, mask.bit_length()


def _holes(mask: int, first: int, end: int) -> list[int]:
    """Disabled bytes of ``mask`` between ``first`` and ``end``."""
    # Fast path for the common case: a long request has thousands of bytes.
    if mask == (1 << end) - (1 << first):
        return []
    return [byte for byte in range(first, end) if not mask >> byte & 1]
