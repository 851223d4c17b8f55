# SPDX-License-Identifier: BSD-2-Clause
"""A function without a simulation: measures a protocol and its sockets alone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from models.config_space import CONFIG_DWORDS

from .function import FunctionAccessError
from .guest_memory import GuestMemory


class MemoryFunction:
    """Implements :class:`~sim.vm.bridge.function.PciFunction` with bytes; never waits.

    Parameters
    ----------
    bar_sizes
        Bytes of each BAR.
    vectors
        Number of MSI-X vectors; there is no table.

    Attributes
    ----------
    config, bars
        Contents of configuration space and of each BAR.
    refuse
        Fail every access to a BAR.
    unmasked
        The unmasked vectors.
    resets, restarts
        Number of resets and restarts.
    """

    def __init__(self, bar_sizes: Mapping[int, int], vectors: int = 1) -> None:
        self.bar_sizes = bar_sizes
        self.vectors = vectors
        self.config_size = 4 * CONFIG_DWORDS
        self.memory = GuestMemory()
        self.on_interrupt: Callable[[int], None] = lambda vector: None
        self.config = bytearray(self.config_size)
        self.bars = {bar: bytearray(size) for bar, size in bar_sizes.items()}
        self.refuse = False
        self.unmasked: frozenset[int] = frozenset()
        self.resets = 0
        self.restarts = 0

    async def config_read(self, offset: int, size: int) -> bytes:
        """As :meth:`PciFunction.config_read`."""
        return bytes(self.config[offset : offset + size])

    async def config_write(self, offset: int, data: bytes) -> None:
        """As :meth:`PciFunction.config_write`."""
        self.config[offset : offset + len(data)] = data

    async def bar_read(self, bar: int, offset: int, size: int) -> bytes:
        """As :meth:`PciFunction.bar_read`."""
        self._check()
        return bytes(self.bars[bar][offset : offset + size])

    async def bar_write(self, bar: int, offset: int, data: bytes, *, posted: bool) -> None:
        """As :meth:`PciFunction.bar_write`."""
        self._check()
        self.bars[bar][offset : offset + len(data)] = data

    async def set_unmasked_vectors(self, vectors: Collection[int]) -> None:
        """As :meth:`PciFunction.set_unmasked_vectors`."""
        self.unmasked = frozenset(vectors)

    async def reset(self) -> None:
        """As :meth:`PciFunction.reset`."""
        self.resets += 1

    async def restart(self) -> None:
        """As :meth:`PciFunction.restart`."""
        self.restarts += 1
        self.unmasked = frozenset()

    def _check(self) -> None:
        if self.refuse:
            raise FunctionAccessError("the memory refuses")
