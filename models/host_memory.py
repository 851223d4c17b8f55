# SPDX-License-Identifier: BSD-2-Clause
"""Host memory model without a simulator: only allocated memory exists."""

from __future__ import annotations

from bisect import bisect_right

from .dma import PAGE

MEMORY_BASE = 0x1000_0000


class MemoryAccessError(ValueError):
    """Access outside allocated memory; the text has address and size."""


class MemoryModel:
    """:class:`~models.dma.HostMemory` that fails accesses outside its allocations.

    Parameters
    ----------
    base
        Bus address of the first allocation.
    """

    def __init__(self, base: int = MEMORY_BASE) -> None:
        self._next = base
        self._starts: list[int] = []
        self._blocks: list[bytearray] = []

    def allocate(self, size: int, align: int = PAGE) -> int:
        """Implement :meth:`HostMemory.allocate`.

        Raises
        ------
        ValueError
            ``size`` is below 1, or ``align`` is not a power of two.
        """
        if size < 1 or align < 1 or align & (align - 1):
            raise ValueError(
                f"size is {size} and align {align}: must be 1 or more, and a power of two"
            )
        start = -(-self._next // align) * align
        # Leave a gap, so that an access past the end of an allocation fails.
        self._next = start + size + PAGE
        self._starts.append(start)
        self._blocks.append(bytearray(size))
        return start

    def free(self, address: int) -> None:
        """Implement :meth:`~models.dma.ReclaimingMemory.free`; later accesses to it fail."""
        index = bisect_right(self._starts, address) - 1
        if index < 0 or self._starts[index] != address:
            raise MemoryAccessError(f"address is {address:#x}: must be that of an allocation")
        del self._starts[index], self._blocks[index]

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
        index = bisect_right(self._starts, address) - 1
        if index >= 0:
            offset = address - self._starts[index]
            if offset + size <= len(self._blocks[index]):
                return self._blocks[index], offset
        raise MemoryAccessError(f"{size} bytes at {address:#x}: must lie in one allocation")
