# SPDX-License-Identifier: BSD-2-Clause
"""Descriptor chain reader.

Source: virtio 1.4 sections 2.7.4 (message framing), 2.7.5 (descriptor table), 2.7.5.3 (indirect
descriptors). Any descriptor contents are handled; the work for a chain is bounded by the queue
size.
"""

from __future__ import annotations

from ..dma import Dma
from .errors import ChainTooLargeError, DescriptorError
from .layout import DESCRIPTOR, Buffer, Descriptor, DescriptorFlag

MAX_CHAIN_BYTES = 1 << 32
"""Most bytes of a chain (virtio 2.7.5). Drivers are not informed of any smaller limit."""
READ_AHEAD = 4
"""Descriptors per read: drivers mostly allocate consecutive descriptors."""
ADDRESS_END = 1 << 64
"""First address past the 64-bit address space."""


class _Table:
    """Descriptor table that fetches a few entries per read."""

    def __init__(self, dma: Dma, address: int, count: int, ahead: int) -> None:
        self.count = count
        self._dma = dma
        self._address = address
        self._ahead = ahead
        self._entries: dict[int, Descriptor] = {}

    async def entry(self, number: int) -> Descriptor:
        if number not in self._entries:
            count = min(self._ahead, self.count - number)
            raw = await self._dma.read(
                self._address + DESCRIPTOR.size * number, DESCRIPTOR.size * count
            )
            for offset, fields in enumerate(DESCRIPTOR.iter_unpack(raw)):
                self._entries.setdefault(number + offset, Descriptor(*fields))
        return self._entries[number]


class ChainReader:
    """Reads the descriptor chains of one queue.

    Parameters
    ----------
    dma
        Host memory.
    address
        Bus address of the descriptor table.
    size
        Number of descriptors in the table.
    indirect
        INDIRECT_DESC was negotiated.
    max_chain_bytes
        Most bytes of a chain.
    """

    def __init__(
        self, dma: Dma, address: int, size: int, *, indirect: bool, max_chain_bytes: int
    ) -> None:
        self._dma = dma
        self._address = address
        self._size = size
        self._indirect = indirect
        self._max_bytes = max_chain_bytes

    async def read(self, head: int) -> tuple[list[Buffer], list[Buffer]]:
        """Read the chain from descriptor ``head``: its readable and its writable buffers.

        Raises
        ------
        VirtqueueError
            The chain breaks a rule, which the text names.
        DmaError
            Host memory could not be read.
        """
        table = _Table(self._dma, self._address, self._size, READ_AHEAD)
        nested = False
        number, total = head, 0
        readable: list[Buffer] = []
        writable: list[Buffer] = []
        while True:
            # Count buffers only: a chain has at most one descriptor for an indirect table.
            if len(readable) + len(writable) == self._size:
                raise DescriptorError(
                    f"chain from {head}: must end within {self._size} descriptors, the queue's size"
                )
            descriptor = await table.entry(number)
            where = f"descriptor {number} of the chain from {head}"
            if descriptor.flags & DescriptorFlag.INDIRECT:
                table = self._indirect_table(descriptor, where, nested)
                nested, number = True, 0
                continue
            self._check_buffer(descriptor, where)
            total += descriptor.size
            if total > self._max_bytes:
                raise ChainTooLargeError(
                    f"chain from {head} has {total} bytes: must be {self._max_bytes} at most"
                )
            buffer = Buffer(descriptor.address, descriptor.size)
            if descriptor.flags & DescriptorFlag.WRITE:
                writable.append(buffer)
            elif writable:
                raise DescriptorError(f"{where}: readable, must not follow writable ones")
            else:
                readable.append(buffer)
            if not descriptor.flags & DescriptorFlag.NEXT:
                return readable, writable
            number = descriptor.next
            if number >= table.count:
                raise DescriptorError(f"{where}: next is {number}, must be below {table.count}")

    def _indirect_table(self, descriptor: Descriptor, where: str, nested: bool) -> _Table:
        if not self._indirect:
            raise DescriptorError(f"{where}: flags has INDIRECT, which was not negotiated")
        if nested:
            raise DescriptorError(f"{where}: flags has INDIRECT within an indirect table")
        if descriptor.flags & DescriptorFlag.NEXT:
            raise DescriptorError(f"{where}: flags has INDIRECT and NEXT, must have one of them")
        count, remainder = divmod(descriptor.size, DESCRIPTOR.size)
        if remainder or not 1 <= count <= self._size:
            raise DescriptorError(
                f"{where}: len of the indirect table is {descriptor.size}, must be a multiple of "
                f"{DESCRIPTOR.size} up to {DESCRIPTOR.size * self._size}"
            )
        self._check_buffer(descriptor, where)
        return _Table(self._dma, descriptor.address, count, count)

    def _check_buffer(self, descriptor: Descriptor, where: str) -> None:
        if not descriptor.size:
            raise DescriptorError(f"{where}: len is 0, must be 1 or more")
        if descriptor.address + descriptor.size > ADDRESS_END:
            raise DescriptorError(
                f"{where}: addr is {descriptor.address:#x} and len {descriptor.size}, must end "
                f"within 64 bits"
            )
