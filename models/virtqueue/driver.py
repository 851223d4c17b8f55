# SPDX-License-Identifier: BSD-2-Clause
"""Driver side of a split virtqueue.

Source: virtio 1.4 section 2.7.13 (supplying buffers), 2.7.14 (receiving used buffers).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ..dma import HostMemory, free
from .errors import QueueFullError, UsedRingError
from .layout import (
    AVAILABLE_ENTRY,
    DESCRIPTOR,
    EVENT,
    INDEX_MASK,
    NO_NOTIFY,
    RING_HEADER,
    USED_ENTRY,
    Buffer,
    Descriptor,
    DescriptorFlag,
    SplitLayout,
    event_passed,
)


class RingAddresses(Protocol):
    """Size and bus addresses of a queue."""

    @property
    def size(self) -> int:
        """Number of descriptors."""

    @property
    def descriptor_addr(self) -> int:
        """Bus address of the descriptor table."""

    @property
    def driver_addr(self) -> int:
        """Bus address of the available ring."""

    @property
    def device_addr(self) -> int:
        """Bus address of the used ring."""


class Used(NamedTuple):
    """Used chain: the head that :meth:`DriverVirtqueue.add` returned, and the bytes written."""

    head: int
    written: int


@dataclass
class _Outstanding:
    descriptors: list[int]
    writable_size: int


class DriverVirtqueue:
    """Makes chains available and collects used ones. Only one task may use it at a time.

    Parameters
    ----------
    memory
        Host memory.
    ring
        Size and addresses of the queue, whose memory is zeroed.
    indirect
        INDIRECT_DESC was negotiated: chains of more than one buffer take one descriptor.
    event_index
        EVENT_IDX was negotiated.
    """

    def __init__(
        self,
        memory: HostMemory,
        ring: RingAddresses,
        *,
        indirect: bool = False,
        event_index: bool = False,
    ) -> None:
        self.layout = SplitLayout(ring.size)
        self._memory = memory
        self._ring = ring
        self._indirect = indirect
        self._event_index = event_index
        self._free = list(reversed(range(ring.size)))
        self._tables: dict[int, Buffer] = {}
        self._outstanding: dict[int, _Outstanding] = {}
        # Counts that never wrap, unlike the 16-bit ring indices.
        self._available = 0
        self._notified = 0
        self._used = 0

    @property
    def outstanding(self) -> int:
        """Number of chains that the device has not returned."""
        return len(self._outstanding)

    @property
    def free(self) -> int:
        """Number of free descriptors."""
        return len(self._free)

    async def add(self, readable: Sequence[Buffer], writable: Sequence[Buffer]) -> int:
        """Make a chain of these buffers available and return its head.

        Raises
        ------
        QueueFullError
            There are too few free descriptors.
        ValueError
            The chain has no buffer.
        """
        buffers = [(buffer, 0) for buffer in readable]
        buffers += [(buffer, int(DescriptorFlag.WRITE)) for buffer in writable]
        if not buffers:
            raise ValueError("a chain has no buffer: must have one or more")
        if self._indirect and 1 < len(buffers) <= self.layout.size:
            numbers = await self._add_indirect(buffers)
        else:
            numbers = await self._add_direct(buffers)
        head = numbers[0]
        self._outstanding[head] = _Outstanding(numbers, sum(buffer.size for buffer in writable))
        slot = self._available % self.layout.size
        address = self._ring.driver_addr + self.layout.available_entry(slot)
        await self._memory.write(address, AVAILABLE_ENTRY.pack(head))
        self._available += 1
        header = RING_HEADER.pack(0, self._available & INDEX_MASK)
        await self._memory.write(self._ring.driver_addr, header)
        return head

    def release(self) -> None:
        """Free the memory of the indirect tables. The queue or its device must have been reset."""
        for table in self._tables.values():
            free(self._memory, table.address)
        self._tables.clear()

    async def needs_kick(self) -> bool:
        """Whether the chains added since the last call need a notification to the device."""
        before, self._notified = self._notified, self._available
        if before == self._available:
            return False
        if self._event_index:
            address = self._ring.device_addr + self.layout.avail_event
            (event,) = EVENT.unpack(await self._memory.read(address, EVENT.size))
            return event_passed(event, before, self._available)
        header = await self._memory.read(self._ring.device_addr, RING_HEADER.size)
        flags, _ = RING_HEADER.unpack(header)
        return not flags & NO_NOTIFY

    async def collect(self) -> list[Used]:
        """Collect the used chains.

        An empty list also means that the device will notify of the next one.

        Raises
        ------
        UsedRingError
            The device broke a rule, which the text names.
        """
        found = await self._collect()
        if found or not self._event_index:
            return found
        address = self._ring.driver_addr + self.layout.used_event
        await self._memory.write(address, EVENT.pack(self._used & INDEX_MASK))
        # The device may have read the previous used_event, so check the ring again.
        return await self._collect()

    async def _collect(self) -> list[Used]:
        header = await self._memory.read(self._ring.device_addr, RING_HEADER.size)
        _, index = RING_HEADER.unpack(header)
        count = index - self._used & INDEX_MASK
        if count > len(self._outstanding):
            raise UsedRingError(
                f"used.idx is {index}, {count} more than before: must be at most "
                f"{len(self._outstanding)}, the chains that the device has"
            )
        return [await self._take_used() for _ in range(count)]

    async def _take_used(self) -> Used:
        slot = self._used % self.layout.size
        address = self._ring.device_addr + self.layout.used_entry(slot)
        head, written = USED_ENTRY.unpack(await self._memory.read(address, USED_ENTRY.size))
        if head not in self._outstanding:
            raise UsedRingError(f"used id is {head}: must be a chain that the device has")
        limit = self._outstanding[head].writable_size
        if written > limit:
            raise UsedRingError(f"used len of chain {head} is {written}: must be at most {limit}")
        self._free += reversed(self._outstanding.pop(head).descriptors)
        self._used += 1
        return Used(head, written)

    async def _add_direct(self, buffers: Sequence[tuple[Buffer, int]]) -> list[int]:
        if len(buffers) > len(self._free):
            raise QueueFullError(
                f"free descriptors are {len(self._free)}: must be {len(buffers)} for the chain"
            )
        numbers = [self._free.pop() for _ in buffers]
        for position, (buffer, flags) in enumerate(buffers):
            has_next = position + 1 < len(buffers)
            entry = Descriptor(
                buffer.address,
                buffer.size,
                flags | has_next * DescriptorFlag.NEXT,
                numbers[position + 1] if has_next else 0,
            )
            await self._write_descriptor(numbers[position], entry)
        return numbers

    async def _add_indirect(self, buffers: Sequence[tuple[Buffer, int]]) -> list[int]:
        if not self._free:
            raise QueueFullError("free descriptors are 0: must be 1 for the chain")
        number = self._free.pop()
        size = DESCRIPTOR.size * len(buffers)
        table = self._tables.get(number)
        if table is None or table.size < size:
            if table is not None:
                free(self._memory, table.address)
            table = self._tables[number] = Buffer(self._memory.allocate(size, 16), size)
        entries = b"".join(
            Descriptor(
                buffer.address,
                buffer.size,
                flags | (position + 1 < len(buffers)) * DescriptorFlag.NEXT,
                position + 1 if position + 1 < len(buffers) else 0,
            ).pack()
            for position, (buffer, flags) in enumerate(buffers)
        )
        await self._memory.write(table.address, entries)
        await self._write_descriptor(
            number, Descriptor(table.address, size, int(DescriptorFlag.INDIRECT), 0)
        )
        return [number]

    async def _write_descriptor(self, number: int, entry: Descriptor) -> None:
        address = self._ring.descriptor_addr + DESCRIPTOR.size * number
        await self._memory.write(address, entry.pack())
