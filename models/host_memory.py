# SPDX-License-Identifier: BSD-2-Clause
"""Host memory without a simulator, and the rules of allocation that all host memories share.

Only allocated memory exists. Allocations are zeroed, aligned and :data:`GUARD` bytes apart, and
never at address 0, which drivers use for no memory.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import Generic, TypeVar

from .dma import PAGE

MEMORY_BASE = 0x1000_0000
GUARD = PAGE
"""Minimum bytes between two allocations: an access past the end of one fails."""

BlockT = TypeVar("BlockT")


class MemoryAccessError(ValueError):
    """Access outside allocated memory, or no space; the text has address and size."""


def check_allocation(size: int, align: int) -> None:
    """Check the size and the alignment of an allocation.

    Raises
    ------
    ValueError
        ``size`` is below 1, or ``align`` is not a power of two.
    """
    if size < 1:
        raise ValueError(f"size is {size}: must be 1 or more")
    if align < 1 or align & (align - 1):
        raise ValueError(f"align is {align}: must be a power of two")


def align_up(address: int, align: int) -> int:
    """The lowest multiple of ``align`` from ``address`` on."""
    return -(-address // align) * align


def outside_allocation(address: int, size: int) -> MemoryAccessError:
    """The error of an access that is not in one allocation."""
    return MemoryAccessError(f"{size} bytes at {address:#x}: must lie in one allocation")


class AllocationMap(Generic[BlockT]):
    """Allocated blocks by bus address."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._blocks: list[BlockT] = []

    def __len__(self) -> int:
        """Number of blocks."""
        return len(self._blocks)

    def __iter__(self) -> Iterator[BlockT]:
        """Iterate over the blocks in the order of their addresses."""
        return iter(self._blocks)

    def add(self, address: int, block: BlockT) -> None:
        """Add ``block``, which starts at ``address``."""
        index = bisect_right(self._starts, address)
        self._starts.insert(index, address)
        self._blocks.insert(index, block)

    def remove(self, address: int) -> BlockT:
        """Remove the block that starts at ``address``.

        Raises
        ------
        MemoryAccessError
            No block starts there.
        """
        index = bisect_right(self._starts, address) - 1
        if index < 0 or self._starts[index] != address:
            raise MemoryAccessError(f"address is {address:#x}: must be that of an allocation")
        del self._starts[index]
        return self._blocks.pop(index)

    def last_before(self, address: int) -> tuple[int, BlockT] | None:
        """Start and block of the last block that starts at ``address`` or before it."""
        index = bisect_right(self._starts, address) - 1
        return None if index < 0 else (self._starts[index], self._blocks[index])


class MemoryModel:
    """:class:`~models.dma.HostMemory` that fails accesses outside its allocations.

    Parameters
    ----------
    base
        Bus address of the first allocation.
    """

    def __init__(self, base: int = MEMORY_BASE) -> None:
        self._next = base
        self._blocks: AllocationMap[bytearray] = AllocationMap()

    def allocate(self, size: int, align: int = PAGE) -> int:
        """Implement :meth:`HostMemory.allocate`.

        Raises
        ------
        ValueError
            ``size`` is below 1, or ``align`` is not a power of two.
        """
        check_allocation(size, align)
        start = align_up(max(self._next, PAGE), align)
        self._next = start + size + GUARD
        self._blocks.add(start, bytearray(size))
        return start

    def free(self, address: int) -> None:
        """Implement :meth:`~models.dma.ReclaimingMemory.free`; later accesses to it fail."""
        self._blocks.remove(address)

    async def read(self, address: int, size: int) -> bytes:
        """Implement :meth:`HostMemory.read`. Raises as :meth:`load` does."""
        return self.load(address, size)

    async def write(self, address: int, data: bytes) -> None:
        """Implement :meth:`HostMemory.write`. Raises as :meth:`load` does."""
        self.store(address, data)

    def load(self, address: int, size: int) -> bytes:
        """Read ``size`` bytes at ``address`` in no time.

        Raises
        ------
        MemoryAccessError
            The bytes are not all in one allocation.
        """
        block, offset = self._find(address, size)
        return bytes(block[offset : offset + size])

    def store(self, address: int, data: bytes) -> None:
        """Store ``data`` at ``address`` in no time. Raises as :meth:`load` does."""
        block, offset = self._find(address, len(data))
        block[offset : offset + len(data)] = data

    def _find(self, address: int, size: int) -> tuple[bytearray, int]:
        found = self._blocks.last_before(address)
        if found is not None:
            start, block = found
            if address - start + size <= len(block):
                return block, address - start
        raise outside_allocation(address, size)
