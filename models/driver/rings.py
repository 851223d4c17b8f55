# SPDX-License-Identifier: BSD-2-Clause
"""Where a driver puts the rings of its queues."""

from __future__ import annotations

from dataclasses import dataclass

from ..dma import PAGE, HostMemory, free
from ..virtqueue import SplitLayout


@dataclass(frozen=True, kw_only=True)
class Ring:
    """Where a queue lies in memory that the device can reach: size and bus addresses."""

    size: int
    descriptor_addr: int
    driver_addr: int
    device_addr: int


class RingAllocator:
    """Hands out room for split rings, one page-aligned area after the other.

    Parameters
    ----------
    base
        Bus address of the arena, page aligned, of which nobody makes sure that it is memory.
    max_size
        Most descriptors of a ring, whatever the device allows; a power of two.
    memory
        Host memory to take the rings from, zeroed, instead of ``base``.
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
        """A ring of at most ``max_size`` descriptors."""
        layout = SplitLayout(min(max_size, self._max_size))
        return Ring(
            size=layout.size,
            descriptor_addr=self._take(layout.descriptor_bytes),
            driver_addr=self._take(layout.available_bytes),
            device_addr=self._take(layout.used_bytes),
        )

    def release(self, ring: Ring) -> None:
        """Give the memory of ``ring`` back; its device has been reset."""
        if self._memory is not None:
            for address in (ring.descriptor_addr, ring.driver_addr, ring.device_addr):
                free(self._memory, address)

    def _take(self, size: int) -> int:
        if self._memory is not None:
            return self._memory.allocate(size)
        address = self._next
        self._next += -(-size // PAGE) * PAGE
        return address
