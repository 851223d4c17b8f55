# SPDX-License-Identifier: BSD-2-Clause
"""Protocols of host memory: direct access for the driver, bus mastering for a device.

This module does not depend on a simulator. A device accesses host memory through a :class:`Dma`
object, either the golden endpoint's or the gateware's AXI window. The driver uses a
:class:`HostMemory`, which belongs to the root complex.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from .layout import PAGE as PAGE


class DmaError(Exception):
    """An access to host memory failed; the text names direction, address and size."""


class Dma(Protocol):
    """Access of a device to host memory.

    The data of a :meth:`write` that has returned reaches the host before any message or interrupt
    sent afterwards.
    """

    async def read(self, address: int, size: int) -> bytes:
        """Read ``size`` bytes, 1 or more, at the 64-bit bus address ``address``.

        Raises
        ------
        DmaError
            Bus mastering is off, or the host refused, aborted, poisoned or did not send the data.
        """

    async def write(self, address: int, data: bytes) -> None:
        """Write ``data``, 1 byte or more, at the 64-bit bus address ``address``.

        Raises
        ------
        DmaError
            Bus mastering is off. Writes are posted: a refusal by the host is not reported.
        """


class HostMemory(Protocol):
    """Host memory, as host software uses it."""

    def allocate(self, size: int, align: int = PAGE) -> int:
        """Allocate ``size`` bytes of zeroed memory at a bus address that ``align`` divides."""

    async def read(self, address: int, size: int) -> bytes:
        """Read ``size`` bytes at ``address``."""

    async def write(self, address: int, data: bytes) -> None:
        """Write ``data`` at ``address``, in order with other accesses."""


@runtime_checkable
class ReclaimingMemory(Protocol):
    """:class:`HostMemory` that can free memory. The memory of a short test need not."""

    def free(self, address: int) -> None:
        """Free the allocation at ``address``. The device must no longer use it.

        Raises
        ------
        ValueError
            No allocation begins at ``address``.
        """


def free(memory: HostMemory, address: int) -> None:
    """Free an allocation if ``memory`` can. Raises as :meth:`ReclaimingMemory.free` does."""
    if isinstance(memory, ReclaimingMemory):
        memory.free(address)
