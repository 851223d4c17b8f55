# SPDX-License-Identifier: BSD-2-Clause
"""Memory of a host without its bus: what is allocated, and the bytes in it.

Anywhere in 64 bits of address space, below and above 4 GiB; only what is allocated exists.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from models.dma import PAGE

from ..tlp import Tlp
from ..tlp.traffic import byte_mask
from .requester import HostError

LINE = 64
"""Bytes of a cache line, which is also the longest beat of an AXI burst."""
GUARD = PAGE
"""Bytes, at least, between two allocations: running out of one never ends in the next."""
JUNK = 0xDB
"""What a byte reads as that was not asked for, or that belongs to nobody."""
ADDRESS_END = 1 << 64


class HostMemoryError(HostError):
    """Host software left its memory, or there is none left; the text has address and size."""


@dataclass(slots=True)
class Block:
    """An allocation.

    Parameters
    ----------
    start, end
        Bus addresses of its first byte and of the byte after its last.
    lines
        The bytes of every cache line that it touches.
    """

    start: int
    end: int
    lines: bytearray

    @property
    def base(self) -> int:
        """Bus address of the first byte of ``lines``."""
        return self.start & -LINE


class SparseMemory:
    """Implements :class:`models.dma.HostMemory`; a bus master's requests go to it too.

    Parameters
    ----------
    base
        Lowest address that :meth:`allocate` gives where it is not told otherwise.
    """

    def __init__(self, *, base: int) -> None:
        self.base = base
        self._starts: list[int] = []
        self._blocks: list[Block] = []

    def allocate(self, size: int, align: int = PAGE, *, base: int | None = None) -> int:
        """Bus address of ``size`` bytes of zeroed memory, a multiple of ``align``.

        Parameters
        ----------
        size
            Bytes, 1 or more.
        align
            Bytes, a power of two.
        base
            Lowest address wanted, from 4 GiB up if need be. Address 0 is never given: drivers take
            it for no memory.

        Raises
        ------
        ValueError
            ``size`` or ``align`` makes no sense.
        MemoryAccessError
            There is no room.
        """
        check_allocation(size, align)
        start = _align(max(self.base if base is None else base, PAGE), align)
        for block in self._blocks:
            if start < block.end + GUARD and block.start < start + size + GUARD:
                start = _align(block.end + GUARD, align)
        if start + size > ADDRESS_END:
            raise HostMemoryError(f"no room for {size} bytes from {start:#x} up")
        lines = bytearray([JUNK]) * (_align(start + size, LINE) - (start & -LINE))
        block = Block(start, start + size, lines)
        lines[start - block.base : start + size - block.base] = bytes(size)
        at = bisect_right(self._starts, start)
        self._starts.insert(at, start)
        self._blocks.insert(at, block)
        return start

    def free(self, address: int) -> None:
        """As :meth:`models.dma.ReclaimingMemory.free`; a request to it is unsupported from now on.

        Raises
        ------
        MemoryAccessError
            Nothing that is allocated begins there.
        """
        at = bisect_right(self._starts, address) - 1
        if at < 0 or self._starts[at] != address:
            raise HostMemoryError(f"address is {address:#x}: must be that of an allocation")
        del self._starts[at], self._blocks[at]

    async def read(self, address: int, size: int) -> bytes:
        """``size`` bytes from ``address``, directly.

        Raises
        ------
        MemoryAccessError
            They are not all in one allocation.
        """
        block = self._own(address, size, "read")
        offset = address - block.base
        return bytes(block.lines[offset : offset + size])

    async def write(self, address: int, data: bytes) -> None:
        """Store ``data`` at ``address``, directly.

        Raises
        ------
        MemoryAccessError
            It does not all go into one allocation.
        """
        block = self._own(address, len(data), "write")
        offset = address - block.base
        block.lines[offset : offset + len(data)] = data

    def load(self, request: Tlp) -> bytes | None:
        """What a memory read gets, whole dwords, or ``None`` if it asks for what is not there.

        It may ask for all of a cache line that an allocation touches: an AXI read has no byte
        enables, so a device cannot help reading whole beats. What nobody owns, and what the
        request's byte enables leave out, reads as junk.
        """
        mask = byte_mask(request)
        first, end = _span(mask)
        block = self._block(request.address + first)
        if block is None or request.address + end > block.base + len(block.lines):
            return None
        data = bytearray([JUNK]) * (4 * request.length)
        offset = request.address - block.base
        data[first:end] = block.lines[offset + first : offset + end]
        for byte in _holes(mask, first, end):
            data[byte] = JUNK
        return bytes(data)

    def store(self, request: Tlp) -> bool:
        """Do a memory write: the enabled bytes and no others.

        Returns
        -------
        bool
            Whether all of them came and are in one allocation; otherwise none is stored.
        """
        if len(request.payload) != 4 * request.length:
            return False
        mask = byte_mask(request)
        first, end = _span(mask)
        start = request.address + first
        block = self._block(start)
        if block is None or start < block.start or request.address + end > block.end:
            return False
        offset = request.address - block.base
        data = bytearray(request.payload[first:end])
        for byte in _holes(mask, first, end):
            data[byte - first] = block.lines[offset + byte]
        block.lines[offset + first : offset + end] = data
        return True

    def _block(self, address: int) -> Block | None:
        """The allocation whose cache lines hold ``address``."""
        # The line that holds the address may begin before the allocation does.
        at = bisect_right(self._starts, address | LINE - 1) - 1
        if at < 0:
            return None
        block = self._blocks[at]
        return block if block.base <= address < block.base + len(block.lines) else None

    def _own(self, address: int, size: int, verb: str) -> Block:
        block = self._block(address)
        if block is None or address < block.start or address + size > block.end:
            raise HostMemoryError(f"{verb} of {size} bytes at {address:#x}: not allocated")
        return block


def check_allocation(size: int, align: int) -> None:
    """Require a size and an alignment that make sense.

    Raises
    ------
    ValueError
        One of them does not.
    """
    if size < 1:
        raise ValueError(f"size is {size}: must be 1 or more")
    if align < 1 or align & align - 1:
        raise ValueError(f"align is {align}: must be a power of two")


def _align(address: int, align: int) -> int:
    return (address + align - 1) & -align


def _span(mask: int) -> tuple[int, int]:
    """First enabled byte and the one after the last; a zero-length request has its first byte."""
    if not mask:
        return 0, 1
    return (mask & -mask).bit_length() - 1, mask.bit_length()


def _holes(mask: int, first: int, end: int) -> list[int]:
    """Bytes from ``first`` to ``end`` that ``mask`` leaves out."""
    # Nearly always there are none, and a long request has thousands of bytes to look at.
    if mask == (1 << end) - (1 << first):
        return []
    return [byte for byte in range(first, end) if not mask >> byte & 1]
