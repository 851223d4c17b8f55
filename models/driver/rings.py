# SPDX-License-Identifier: BSD-2-Clause
"""Allocation of the rings of a driver's queues."""

from __future__ import annotations

from dataclasses import dataclass

from ..dma import PAGE, HostMemory, free
from ..virtqueue import SplitLayout


@dataclass(frozen=True, kw_only=True)
class Ring:
    """Size and bus addresses of a queue in memory that the device can access."""

    size: int
    descriptor_addr: int
    driver_addr: int
    device_addr: int


class RingAllocator:
    """Allocates split rings, whose three areas are each page aligned.

    Parameters
    ----------
    base
        Bus address of the first area, page aligned. There need not be memory at the address.
    max_size
        Most descriptors of a ring, even if the device allows more; a power of two.
    memory
        Host memory from which to allocate zeroed rings. ``base`` is then ignored.
    """

    def __init__(
        self,
        base: int = 0x4000_0000,
        max_size: int = 256,
        memory: HostMemory | None = None,
    ) -> None:
        self._next = base
        self._max_size = max_size
        self._memory = memory

    def allocate(self, max_size: int) -> Ring:
        """Allocate a ring of at most ``max_size`` descriptors."""
        layout = SplitLayout(min(max_size, self._max_size))
        return Ring(
            size=layout.size,
            descriptor_addr=self._take(layout.descriptor_bytes),
            driver_addr=self._take(layout.available_bytes),
            device_addr=self._take(layout.used_bytes),
        )

    def release(self, ring: Ring) -> None:
        """Free the memory of ``ring``. Its queue or device must have been reset."""
        if self._memory is not None:
            for address in (ring.descriptor_addr, ring.driver_addr, ring.device_addr):
                free(self._memory, address)

    def _take(self, size: int) -> int:
        if self._memory is not None:
            return self._memory.allocate(size)
        address = self._next
        self._next += -(-size // PAGE) * PAGE
        return address
