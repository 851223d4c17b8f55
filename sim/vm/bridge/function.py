# SPDX-License-Identifier: BSD-2-Clause
"""What a socket protocol asks of a PCI function, whatever stands behind it.

:class:`sim.vm.bridge.gateware.GatewareFunction` has the simulated gateware behind it,
:class:`sim.vm.bridge.stub.MemoryFunction` mere memory. A protocol (:mod:`sim.vm.vfio_user` is one) knows
only this.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from .guest_memory import GuestMemory


class FunctionAccessError(RuntimeError):
    """The function refused an access, or did not answer; the text has the access and the reason."""


class PciFunction(Protocol):
    """A function, its host's view: accesses in, bus mastering and interrupts out.

    Accesses take effect in the order of their calls.

    Attributes
    ----------
    bar_sizes
        Bytes of each BAR that is implemented, by number.
    config_size
        Bytes of configuration space.
    vectors
        Entries of the MSI-X table.
    memory
        What it reaches as a bus master; who owns the protocol maps it.
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
        AccessError
            The function refused.
        """

    async def config_write(self, offset: int, data: bytes) -> None:
        """Write ``data`` at byte ``offset`` of configuration space.

        Raises
        ------
        AccessError
            The function refused.
        """

    async def bar_read(self, bar: int, offset: int, size: int) -> bytes:
        """``size`` bytes at byte ``offset`` of BAR ``bar``; raises as :meth:`config_read`."""

    async def bar_write(self, bar: int, offset: int, data: bytes, *, posted: bool) -> None:
        """Write ``data`` at byte ``offset`` of BAR ``bar``.

        Parameters
        ----------
        bar, offset, data
            As said.
        posted
            Return at once; else when the function has taken it.
        """

    async def open_vectors(self, vectors: Collection[int]) -> None:
        """Let these vectors interrupt, and mask all others in the MSI-X table."""

    async def reset(self) -> None:
        """Function-level reset."""

    async def restart(self) -> None:
        """Be as after power-up; whatever was under way is gone."""
