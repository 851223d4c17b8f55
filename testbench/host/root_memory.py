# SPDX-License-Identifier: BSD-2-Clause
"""Memory of cocotbext-pcie's root complex, for host software.

The root complex serves the function's reads and writes directly from this memory.
"""

from __future__ import annotations

from typing import Any

from models.dma import PAGE
from models.host_memory import MemoryAccessError, check_allocation, outside_allocation

from .memory_store import LINE

POOL_SIZE = 1 << 32
"""Bytes of a pool from 4 GiB up. The root complex's own pool ends at 2 GiB."""


class RootComplexMemory:
    """Implements :class:`models.dma.HostMemory` over a root complex.

    The root complex completes a function's read of unallocated memory with Completer Abort inside a
    pool and with Unsupported Request elsewhere; it drops writes.

    Parameters
    ----------
    rc
        The :class:`cocotbext.pcie.core.RootComplex`.
    base
        Default pool of :meth:`allocate`: 0 for the root complex's own pool, or the base of another,
        a multiple of 4 GiB.
    """

    def __init__(self, rc: Any, *, base: int = 0) -> None:
        _check_base(base)
        self.base = base
        self._space = rc.mem_address_space
        self._pools: dict[int, Any] = {0: rc.mem_pool}
        # The pools cannot free memory: reuse a freed region for the next allocation of its size.
        self._allocated: dict[int, tuple[tuple[int, int], Any]] = {}
        self._free: dict[tuple[int, int], list[tuple[int, Any]]] = {}
        # Never allocate address 0: drivers use it for no memory.
        rc.mem_pool.allocator.alloc(PAGE)

    def allocate(self, size: int, align: int = PAGE, *, base: int | None = None) -> int:
        """Allocate ``size`` bytes of zeroed memory; return its bus address.

        Parameters
        ----------
        size
            Bytes, 1 or more.
        align
            Alignment of the address in bytes, a power of two.
        base
            The pool, as for the constructor; ``None`` for the default.

        Raises
        ------
        ValueError
            A parameter is invalid.
        MemoryAccessError
            The pool has no space.
        """
        check_allocation(size, align)
        base = self.base if base is None else base
        _check_base(base)
        if base not in self._pools:
            self._pools[base] = self._space.create_pool(base, POOL_SIZE)
        # The pool aligns regions to their size. Allocate whole cache lines: devices read whole
        # beats.
        key = base, max(size, align, LINE)
        if self._free.get(key):
            address, region = self._free[key].pop()
            region.mem[:] = bytes(len(region.mem))
        else:
            try:
                region = self._pools[base].alloc_region(key[1])
            except Exception as error:
                raise MemoryAccessError(f"no space for {size} bytes from {base:#x} up") from error
            address = int(region.get_absolute_address(0))
        self._allocated[address] = key, region
        return address

    def free(self, address: int) -> None:
        """As :meth:`models.dma.ReclaimingMemory.free`.

        Raises
        ------
        MemoryAccessError
            No allocation starts at ``address``.
        """
        if address not in self._allocated:
            raise MemoryAccessError(f"address is {address:#x}: must be that of an allocation")
        key, region = self._allocated.pop(address)
        self._free.setdefault(key, []).append((address, region))

    async def read(self, address: int, size: int) -> bytes:
        """Read ``size`` bytes from ``address`` as host software.

        Raises
        ------
        MemoryAccessError
            The bytes are not all allocated.
        """
        try:
            return bytes(await self._space.read(address, size))
        except Exception as error:
            raise outside_allocation(address, size) from error

    async def write(self, address: int, data: bytes) -> None:
        """Write ``data`` at ``address`` as host software.

        Raises
        ------
        MemoryAccessError
            The bytes are not all allocated.
        """
        try:
            await self._space.write(address, data)
        except Exception as error:
            raise outside_allocation(address, len(data)) from error


def _check_base(base: int) -> None:
    if base % POOL_SIZE or not 0 <= base < 1 << 63:
        raise ValueError(f"base is {base:#x}: must be a multiple of 4 GiB below 2**63")
