# SPDX-License-Identifier: BSD-2-Clause
"""Host memory as both sides reach it: the driver directly, a device as a bus master.

Nothing here knows a simulator. A device reaches host memory through a :class:`Dma` object, whether
that is the golden endpoint's or the gateware's AXI window; the driver through a
:class:`HostMemory`, which is the root complex's own.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

PAGE = 4096


class DmaError(Exception):
    """The host did not give or take the data; the text names direction, address and size."""


class Dma(Protocol):
    """A device's window onto host memory.

    When :meth:`write` has returned, its data reaches the host before any message or interrupt that
    is sent from then on.
    """

    async def read(self, address: int, size: int) -> bytes:
        """``size`` bytes, 1 or more, from the 64-bit bus address ``address``.

        Raises
        ------
        DmaError
            Bus mastering is off, or the host refused, aborted, poisoned or never sent the data.
        """

    async def write(self, address: int, data: bytes) -> None:
        """Write ``data``, a byte or more, at the 64-bit bus address ``address``.

        Raises
        ------
        DmaError
            Bus mastering is off. A write is posted: that the host refuses it shows nowhere.
        """


class HostMemory(Protocol):
    """Memory of the host, as host software uses it."""

    def allocate(self, size: int, align: int = PAGE) -> int:
        """Bus address of ``size`` bytes of zeroed memory, a multiple of ``align``."""

    async def read(self, address: int, size: int) -> bytes:
        """``size`` bytes from ``address``."""

    async def write(self, address: int, data: bytes) -> None:
        """Store ``data`` at ``address``; in order with other accesses."""


@runtime_checkable
class ReclaimingMemory(Protocol):
    """A :class:`HostMemory` that takes memory back; one that serves a short test need not."""

    def free(self, address: int) -> None:
        """Take back what ``allocate`` returned ``address`` for; the device must not use it.

        Raises
        ------
        ValueError
            Nothing that is allocated begins there.
        """


def free(memory: HostMemory, address: int) -> None:
    """Give memory back, if ``memory`` takes it; raises as :meth:`ReclaimingMemory.free`."""
    if isinstance(memory, ReclaimingMemory):
        memory.free(address)
