# SPDX-License-Identifier: BSD-2-Clause
"""Contents and allocations of a host's memory, independent of the bus.

Allocations may be anywhere in the 64-bit address space; other addresses have no memory.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from models.dma import PAGE

from ..tlp import Tlp
from ..tlp.traffic import byte_mask
from .requester import HostError

LINE = 64
"""Bytes of a cache line; no beat of an AXI burst is longer."""
GUARD = PAGE
"""Minimum bytes between two allocations: an overrun of one does not reach the next."""
JUNK = 0xDB
"""Value of bytes that are not enabled or not allocated."""
ADDRESS_END = 1 << 64


class HostMemoryError(HostError):
    """Host software accessed unallocated memory, or there is no space; with address and size."""


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
        self._starts: list[int] = []
        self._blocks: list[Block] = []

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
        HostMemoryError
            There is no space.
        """
        check_allocation(size, align)
        start = _align(max(self.base if base is None else base, PAGE), align)
        for block in self._blocks:
            if start < block.end + GUARD and block.start < start + size + GUARD:
                start = _align(block.end + GUARD, align)
        if start + size > ADDRESS_END:
            raise HostMemoryError(f"no room for {size} bytes from {start:#x} up")
        lines = bytearray([JUNK]) * (_align(start + size, LINE) - (start & -LINE))
        block = Block(start, start + size, lines)
        lines[start - block.base : start + size - block.base] = bytes(size)
        at = bisect_right(self._starts, start)
        self._starts.insert(at, start)
        self._blocks.insert(at, block)
        return start

    def free(self, address: int) -> None:
        """As :meth:`models.dma.ReclaimingMemory.free`; requests to it are unsupported afterwards.

        Raises
        ------
        HostMemoryError
            No allocation starts at ``address``.
        """
        at = bisect_right(self._starts, address) - 1
        if at < 0 or self._starts[at] != address:
            raise HostMemoryError(f"address is {address:#x}: must be that of an allocation")
        del self._starts[at], self._blocks[at]

    async def read(self, address: int, size: int) -> bytes:
        """Read ``size`` bytes from ``address`` as host software.

        Raises
        ------
        HostMemoryError
            The bytes are not all in one allocation.
        """
        block = self._allocation(address, size, "read")
        offset = address - block.base
        return bytes(block.lines[offset : offset + size])

    async def write(self, address: int, data: bytes) -> None:
        """Write ``data`` at ``address`` as host software.

        Raises
        ------
        HostMemoryError
            The bytes are not all in one allocation.
        """
        block = self._allocation(address, len(data), "write")
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
        at = bisect_right(self._starts, address | LINE - 1) - 1
        if at < 0:
            return None
        block = self._blocks[at]
        return block if block.base <= address < block.base + len(block.lines) else None

    def _allocation(self, address: int, size: int, verb: str) -> Block:
        block = self._block_at(address)
        if block is None or address < block.start or address + size > block.end:
            raise HostMemoryError(f"{verb} of {size} bytes at {address:#x}: not allocated")
        return block


def check_allocation(size: int, align: int) -> None:
    """Check the size and the alignment of an allocation.

    Raises
    ------
    ValueError
        ``size`` is below 1, or ``align`` is not a power of two.
    """
    if size < 1:
        raise ValueError(f"size is {size}: must be 1 or more")
    if align < 1 or align & align - 1:
        raise ValueError(f"align is {align}: must be a power of two")


def _align(address: int, align: int) -> int:
    return (address + align - 1) & -align


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
