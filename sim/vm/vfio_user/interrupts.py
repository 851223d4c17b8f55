# SPDX-License-Identifier: BSD-2-Clause
"""A client's interrupts: MSI-X writes signal its eventfds, or stay pending while masked.

A vector is unmasked in the function's MSI-X table while it has an eventfd and the client has not
masked it. Otherwise its interrupts stay in the function's pending bits.
"""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Collection, Iterable, Sequence

from ..bridge.files import is_ready
from ..bridge.function import PciFunction
from .wire import Irq, IrqFlags

SIGNAL = (1).to_bytes(8, "little")
"""The value to write to an eventfd: add 1."""


class ClientInterrupts:
    """A client's eventfds and masks.

    Parameters
    ----------
    function
        The function that raises the interrupts.
    """

    def __init__(self, function: PciFunction) -> None:
        self._function = function
        self._files: dict[tuple[int, int], int] = {}
        self._masked: set[int] = set()
        function.on_interrupt = lambda vector: self._signal(Irq.MSIX, vector)

    def info(self, index: int) -> tuple[int, int]:
        """Flags and count of an interrupt type.

        :attr:`Irq.ERROR` has one, which is never raised: QEMU reports an error without it.
        """
        if index == Irq.MSIX:
            return IrqFlags.EVENTFD | IrqFlags.MASKABLE, self._function.vectors
        if index == Irq.ERROR:
            return IrqFlags.EVENTFD, 1
        return 0, 0

    async def assign(self, index: int, start: int, files: Sequence[int | None]) -> None:
        """Assign eventfds, or none, to interrupts from ``start`` on; takes over the files."""
        removed = []
        for number, file in enumerate(files, start):
            previous = self._files.get((index, number))
            if file is not None:
                self._files[index, number] = file
                if previous is not None:
                    os.close(previous)
            elif previous is not None:
                removed.append((index, number))
        try:
            # Mask before closing: earlier interrupts go to the old eventfd, later ones are pending.
            await self._update_mask(removed)
        finally:
            for key in removed:
                os.close(self._files.pop(key))

    async def disable(self, index: int) -> None:
        """Close all eventfds of a type, and clear its masks."""
        await self.assign(index, 0, [None] * self.info(index)[1])
        if index == Irq.MSIX:
            self._masked.clear()

    async def mask(self, vectors: Iterable[int], masked: bool) -> None:
        """Mask or unmask vectors of MSI-X."""
        if masked:
            self._masked |= set(vectors)
        else:
            self._masked -= set(vectors)
        await self._update_mask()

    def trigger(self, index: int, numbers: Iterable[int]) -> None:
        """Signal interrupts of a type as if the function had raised them."""
        for number in numbers:
            self._signal(index, number)

    def close(self) -> None:
        """Close all eventfds and ignore the function's interrupts from here on."""
        self._function.on_interrupt = lambda vector: None
        while self._files:
            os.close(self._files.popitem()[1])

    async def _update_mask(self, without: Collection[tuple[int, int]] = ()) -> None:
        assigned = {
            number for index, number in self._files.keys() - set(without) if index == Irq.MSIX
        }
        await self._function.set_unmasked_vectors(assigned - self._masked)

    def _signal(self, index: int, number: int) -> None:
        file = self._files.get((index, number))
        if file is None:
            return
        # The client's file may be of any kind, such as a full pipe: a write must not block.
        with contextlib.suppress(OSError):
            if is_ready(file, select.POLLOUT):
                os.write(file, SIGNAL)
