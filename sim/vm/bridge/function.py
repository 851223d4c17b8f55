# SPDX-License-Identifier: BSD-2-Clause
"""The interface of a PCI function to a socket protocol such as :mod:`sim.vm.vfio_user`.

:class:`sim.vm.bridge.gateware.GatewareFunction` implements it with the simulated gateware,
:class:`sim.vm.bridge.stub.MemoryFunction` with plain memory.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from .guest_memory import GuestMemory


class FunctionAccessError(RuntimeError):
    """The function refused an access or did not respond; the text has the access and the reason."""


class PciFunction(Protocol):
    """A PCI function as its host sees it: accesses in, bus mastering and interrupts out.

    Accesses take effect in the order of their calls.

    Attributes
    ----------
    bar_sizes
        Bytes of each implemented BAR, by number.
    config_size
        Bytes of configuration space.
    vectors
        Entries of the MSI-X table.
    memory
        Memory that the function accesses as a bus master; the protocol maps it.
    on_interrupt
        Called with the vector of each MSI-X write.
    """

    bar_sizes: Mapping[int, int]
    config_size: int
    vectors: int
    memory: GuestMemory
    on_interrupt: Callable[[int], None]

    async def config_read(self, offset: int, size: int) -> bytes:
        """``size`` bytes at byte ``offset`` of configuration space.

        Raises
        ------
        FunctionAccessError
            The function refused the access.
        """

    async def config_write(self, offset: int, data: bytes) -> None:
        """Write ``data`` at byte ``offset`` of configuration space.

        Raises
        ------
        FunctionAccessError
            The function refused the access.
        """

    async def bar_read(self, bar: int, offset: int, size: int) -> bytes:
        """``size`` bytes at byte ``offset`` of BAR ``bar``; raises as :meth:`config_read`."""

    async def bar_write(self, bar: int, offset: int, data: bytes, *, posted: bool) -> None:
        """Write ``data`` at byte ``offset`` of BAR ``bar``.

        Parameters
        ----------
        bar, offset, data
            The write.
        posted
            Return at once, not when the function has accepted the write.
        """

    async def set_unmasked_vectors(self, vectors: Collection[int]) -> None:
        """Unmask these vectors in the MSI-X table, and mask all others."""

    async def reset(self) -> None:
        """Function-level reset."""

    async def restart(self) -> None:
        """Return to the state after power-up; aborts everything in flight."""
