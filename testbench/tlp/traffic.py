# SPDX-License-Identifier: BSD-2-Clause
"""What memory requests move: which bytes one enables, and how much went each way.

Byte enables: PCI Express Base 4.0 section 2.2.5.
"""

from __future__ import annotations

from dataclasses import dataclass

from .codec import MEMORY_READS, MEMORY_WRITES, Tlp


def byte_mask(request: Tlp) -> int:
    """The bytes that a memory request enables: bit n stands for the byte at ``address + n``."""
    if request.length == 1:
        return request.first_be
    middle = (1 << 4 * (request.length - 2)) - 1
    return request.first_be | middle << 4 | request.last_be << 4 * (request.length - 1)


@dataclass
class Traffic:
    """Memory requests of a requester, counted.

    Parameters
    ----------
    reads, writes
        TLPs.
    read_bytes, write_bytes
        Bytes that they asked for and brought: the enabled ones.
    """

    reads: int = 0
    read_bytes: int = 0
    writes: int = 0
    write_bytes: int = 0

    def count(self, request: Tlp) -> None:
        """Add ``request``; one that is no memory read or write changes nothing."""
        if request.kind in MEMORY_READS:
            self.reads += 1
            self.read_bytes += byte_mask(request).bit_count()
        elif request.kind in MEMORY_WRITES:
            self.writes += 1
            self.write_bytes += byte_mask(request).bit_count()
