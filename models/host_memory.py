# SPDX-License-Identifier: BSD-2-Clause
"""Host memory without a simulator: what is allocated exists, and nothing else."""

from __future__ import annotations

from bisect import bisect_right

from .dma import PAGE

MEMORY_BASE = 0x1000_0000


class MemoryAccessError(ValueError):
    """An access outside what is allocated; the text has address and size."""


class MemoryModel:
    """Implements :class:`~models.dma.HostMemory`.

    Parameters
    ----------
    base
        Bus address where allocations begin.
    """

    def __init__(self, base: int = MEMORY_BASE) -> None:
        self._next = base
        self._starts: list[int] = []
        self._blocks: list[bytearray] = []

    def allocate(self, size: int, align: int = PAGE) -> int:
        """As :meth:`HostMemory.allocate`.

        Raises
        ------
        ValueError
            ``size`` is below 1, or ``align`` is no power of two.
        """
        if size < 1 or align < 1 or align & (align - 1):
            raise ValueError(
                f"size is {size} and align {align}: must be 1 or more, and a power of two"
            )
        start = -(-self._next // align) * align
        # A gap, so that nothing runs from one allocation into the next unnoticed.
        self._next = start + size + PAGE
        self._starts.append(start)
        self._blocks.append(bytearray(size))
        return start

    def free(self, address: int) -> None:
        """As :meth:`~models.dma.ReclaimingMemory.free`; an access to it fails from now on."""
        place = bisect_right(self._starts, address) - 1
        if place < 0 or self._starts[place] != address:
            raise MemoryAccessError(f"address is {address:#x}: must be that of an allocation")
        del self._starts[place], self._blocks[place]

    async def read(self, address: int, size: int) -> bytes:
        """As :meth:`HostMemory.read`; raises as :meth:`load`."""
        return self.load(address, size)

    async def write(self, address: int, data: bytes) -> None:
        """As :meth:`HostMemory.write`; raises as :meth:`load`."""
        self.store(address, data)

    def load(self, address: int, size: int) -> bytes:
        """``size`` bytes from ``address``, at once.

        Raises
        ------
        MemoryAccessError
            They are not all in one allocation.
        """
        block, offset = self._find(address, size)
        return bytes(block[offset : offset + size])

    def store(self, address: int, data: bytes) -> None:
        """Store ``data`` at ``address``, at once; raises as :meth:`load`."""
        block, offset = self._find(address, len(data))
        block[offset : offset + len(data)] = data

    def _find(self, address: int, size: int) -> tuple[bytearray, int]:
        place = bisect_right(self._starts, address) - 1
        if place >= 0:
            offset = address - self._starts[place]
            if offset + size <= len(self._blocks[place]):
                return self._blocks[place], offset
        raise MemoryAccessError(f"{size} bytes at {address:#x}: must lie in one allocation")
