# SPDX-License-Identifier: BSD-2-Clause
"""What all implementations of a device's DMA share: limits of an access, and statistics."""

from __future__ import annotations

from dataclasses import dataclass

from models.dma import DmaError

ADDRESS_END = 1 << 64


@dataclass
class DmaStatistics:
    """Statistics of a :class:`~models.dma.Dma` over an AXI4 window.

    Parameters
    ----------
    reads, writes
        Successful accesses.
    bytes_read, bytes_written
        Bytes of successful accesses.
    read_bursts, write_bursts
        Bursts that the design accepted, including those of failed accesses.
    read_ns, write_ns
        Simulated ns from call to response, summed over accesses, including overlapping ones.
    """

    reads: int = 0
    writes: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    read_bursts: int = 0
    write_bursts: int = 0
    read_ns: float = 0.0
    write_ns: float = 0.0


def check_access(verb: str, address: int, size: int) -> None:
    """Check the limits of an access.

    Raises
    ------
    ValueError
        It has no bytes.
    DmaError
        It reaches beyond 64 bits of address.
    """
    if size < 1:
        raise ValueError(f"size is {size}: must be 1 or more")
    if not 0 <= address <= ADDRESS_END - size:
        raise DmaError(f"{verb} of {size} bytes at {address:#x}: beyond 64 bits of address")
