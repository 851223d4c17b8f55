# SPDX-License-Identifier: BSD-2-Clause
"""Enabled bytes of memory requests, and counts of them in each direction.

Byte enables: PCI Express Base 4.0 section 2.2.5.
"""

from __future__ import annotations

from dataclasses import dataclass

from .codec import MEMORY_READS, MEMORY_WRITES, Tlp


def byte_mask(request: Tlp) -> int:
    """Byte enables of a memory request: bit n is the byte at ``address + n``."""
    if request.length == 1:
        return request.first_be
    middle = (1 << 4 * (request.length - 2)) - 1
    return request.first_be | middle << 4 | request.last_be << 4 * (request.length - 1)


@dataclass
class Traffic:
    """Counts of a requester's memory requests.

    Parameters
    ----------
    reads, writes
        TLPs.
    read_bytes, write_bytes
        Enabled bytes of the reads and of the writes.
    """

    reads: int = 0
    read_bytes: int = 0
    writes: int = 0
    write_bytes: int = 0

    def count(self, request: Tlp) -> None:
        """Count ``request`` if it is a memory read or write."""
        if request.kind in MEMORY_READS:
            self.reads += 1
            self.read_bytes += byte_mask(request).bit_count()
        elif request.kind in MEMORY_WRITES:
            self.writes += 1
            self.write_bytes += byte_mask(request).bit_count()
