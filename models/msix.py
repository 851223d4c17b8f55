# SPDX-License-Identifier: BSD-2-Clause
"""The MSI-X table and its pending bits.

Source: PCI Local Bus 3.0 section 6.8.2. An entry is address, upper address, data and vector
control, of which only the mask bit exists; it is set after reset. Messages that may not leave stay
pending, one for each vector.
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
"""Called with address and data of each MSI-X message that leaves."""


class MsixVectors:
    """Table, pending bits and the decision when a message leaves.

    Parameters
    ----------
    num_vectors
        Entries of the table.
    allowed
        Whether the function lets any message leave (enable, function mask, bus mastering).

    Attributes
    ----------
    observers
        Called for each message that leaves.
    """

    def __init__(self, num_vectors: int, allowed: Callable[[], bool]) -> None:
        self.num_vectors = num_vectors
        self.observers: list[InterruptObserver] = []
        self._allowed = allowed
        self._table = bytearray()
        self._pending = [False] * num_vectors
        self.reset()

    def reset(self) -> None:
        """Entries zero but masked, nothing pending."""
        self._table = bytearray(ENTRY.pack(0, 0, MASK_BIT) * self.num_vectors)
        self._pending = [False] * self.num_vectors

    @property
    def table(self) -> bytes:
        """The table's bytes."""
        return bytes(self._table)

    @property
    def pending_bits(self) -> bytes:
        """The pending-bit array: whole 64-bit words, vector 0 first."""
        bits = sum(1 << n for n, pending in enumerate(self._pending) if pending)
        return bits.to_bytes((self.num_vectors + 63) // 64 * 8, "little")

    def write_table(self, offset: int, data: bytes, byte_enables: Sequence[bool]) -> None:
        """Write enabled bytes of the table; what lies beyond it is ignored."""
        for at, value, enabled in zip(
            range(offset, offset + len(data)), data, byte_enables, strict=True
        ):
            if enabled and 0 <= at < len(self._table):
                self._table[at] = value & _WRITABLE[at % MSIX_ENTRY_SIZE]
        self.flush()

    def masked(self, vector: int) -> bool:
        """The vector's own mask bit."""
        return bool(self._table[vector * MSIX_ENTRY_SIZE + MSIX_CONTROL_OFFSET] & MASK_BIT)

    def trigger(self, vector: int) -> None:
        """The function has something to tell on ``vector``."""
        self._pending[vector] = True
        self.flush()

    def flush(self) -> None:
        """Send what is pending and may leave, lowest vector first."""
        if not self._allowed():
            return
        for vector in range(self.num_vectors):
            if self._pending[vector] and not self.masked(vector):
                self._pending[vector] = False
                address, data, _ = ENTRY.unpack_from(self._table, vector * MSIX_ENTRY_SIZE)
                for observer in self.observers:
                    # The message is a dword write: it has no address bits below.
                    observer(address & ~3, data)
