# SPDX-License-Identifier: BSD-2-Clause
"""MSI-X table and pending bits.

Source: PCI Local Bus 3.0 section 6.8.2. An entry has address, upper address, data and vector
control. Only the mask bit of vector control is implemented; reset sets it. A message that may not
be sent stays pending, one per vector.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

from .shell import MSIX_CONTROL_OFFSET, MSIX_ENTRY_SIZE

MASK_BIT = 0x01
ENTRY = struct.Struct("<QII")
"""Address, data, vector control."""
_WRITABLE = bytes([0xFF] * MSIX_CONTROL_OFFSET + [MASK_BIT, 0, 0, 0])

InterruptObserver = Callable[[int, int], None]
"""Callable with address and data, called for each MSI-X message sent."""


class MsixVectors:
    """Table and pending bits of all vectors.

    Parameters
    ----------
    num_vectors
        Number of table entries.
    allowed
        Whether the function may send messages (enable, function mask, bus mastering).

    Attributes
    ----------
    observers
        Called for each message sent.
    """

    def __init__(self, num_vectors: int, allowed: Callable[[], bool]) -> None:
        self.num_vectors = num_vectors
        self.observers: list[InterruptObserver] = []
        self._allowed = allowed
        self._table = bytearray()
        self._pending = [False] * num_vectors
        self.reset()

    def reset(self) -> None:
        """Mask and zero all entries and clear the pending bits."""
        self._table = bytearray(ENTRY.pack(0, 0, MASK_BIT) * self.num_vectors)
        self._pending = [False] * self.num_vectors

    @property
    def table(self) -> bytes:
        """Contents of the table."""
        return bytes(self._table)

    @property
    def pending_bits(self) -> bytes:
        """Pending bit array: whole 64-bit words, vector 0 first."""
        bits = sum(1 << n for n, pending in enumerate(self._pending) if pending)
        return bits.to_bytes((self.num_vectors + 63) // 64 * 8, "little")

    def write_table(self, offset: int, data: bytes, byte_enables: Sequence[bool]) -> None:
        """Write the enabled bytes; those beyond the table are ignored."""
        for at, value, enabled in zip(
            range(offset, offset + len(data)), data, byte_enables, strict=True
        ):
            if enabled and 0 <= at < len(self._table):
                self._table[at] = value & _WRITABLE[at % MSIX_ENTRY_SIZE]
        self.flush()

    def masked(self, vector: int) -> bool:
        """Mask bit of ``vector``."""
        return bool(self._table[vector * MSIX_ENTRY_SIZE + MSIX_CONTROL_OFFSET] & MASK_BIT)

    def trigger(self, vector: int) -> None:
        """Raise ``vector``: send its message, or make it pending."""
        self._pending[vector] = True
        self.flush()

    def flush(self) -> None:
        """Send all pending messages that may be sent, lowest vector first."""
        if not self._allowed():
            return
        for vector in range(self.num_vectors):
            if self._pending[vector] and not self.masked(vector):
                self._pending[vector] = False
                address, data, _ = ENTRY.unpack_from(self._table, vector * MSIX_ENTRY_SIZE)
                for observer in self.observers:
                    # The message is a dword write, without address bits 1:0.
                    observer(address & ~3, data)
