# SPDX-License-Identifier: BSD-2-Clause
"""Device side of a split virtqueue.

Source: virtio 1.4 section 2.7. Each access is a DMA operation with its latency, so one read fetches
all consecutive ring entries or descriptors. Accesses follow the order that virtio requires: the
index before the entries it covers, data before the used entry, the used entry before its index, and
the index before the notification. Whether to notify is also decided while chains keep arriving
(2.7.7.2), so a queue that never runs empty still notifies.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..dma import Dma
from .chains import MAX_CHAIN_BYTES, ChainReader
from .errors import AvailableRingError, DescriptorError
from .layout import (
    AVAILABLE_ENTRY,
    EVENT,
    INDEX_MASK,
    NO_INTERRUPT,
    RING_HEADER,
    USED_ENTRY,
    Buffer,
    SplitLayout,
    event_passed,
)

NOTIFY_BATCH = 4
"""Chains completed between two notification checks while more chains are available."""
MAX_USED_LEN = 0xFFFF_FFFF
"""Largest len of a used element."""


@dataclass(frozen=True)
class Chain:
    """Descriptor chain that the driver made available.

    Parameters
    ----------
    head
        Number of its first descriptor, which identifies the chain in the used ring.
    readable
        Buffers that the device may read.
    writable
        Buffers that the device may write.
    """

    head: int
    readable: Sequence[Buffer]
    writable: Sequence[Buffer]

    @property
    def readable_size(self) -> int:
        """Bytes that the device may read."""
        return sum(buffer.size for buffer in self.readable)

    @property
    def writable_size(self) -> int:
        """Bytes that the device may write."""
        return sum(buffer.size for buffer in self.writable)


class DeviceVirtqueue:
    """Takes available chains from a virtqueue and returns them as used.

    Only one task may use it at a time.

    Parameters
    ----------
    dma
        Host memory.
    size
        Descriptors, a power of two.
    descriptor_addr
        Bus address of the descriptor table.
    driver_addr
        Bus address of the available ring.
    device_addr
        Bus address of the used ring.
    indirect
        INDIRECT_DESC was negotiated.
    event_index
        EVENT_IDX was negotiated.
    max_chain_bytes
        A chain with more bytes is refused. Readable and writable bytes count together.

    Attributes
    ----------
    layout
        Layout of the rings.
    notify
        Called when completed chains need a notification. The queue checks before it takes newly
        available chains and after every :data:`NOTIFY_BATCH` completed chains. Before a pause, the
        user of the queue calls :meth:`needs_notification` for the last chains: ``avail_event`` then
        already requests a notification for the next available chain.
    """

    def __init__(
        self,
        dma: Dma,
        *,
        size: int,
        descriptor_addr: int,
        driver_addr: int,
        device_addr: int,
        indirect: bool = False,
        event_index: bool = False,
        max_chain_bytes: int = MAX_CHAIN_BYTES,
    ) -> None:
        self.layout = SplitLayout(size)
        self._dma = dma
        self._driver_addr = driver_addr
        self._device_addr = device_addr
        self._event_index = event_index
        self._chains = ChainReader(
            dma, descriptor_addr, size, indirect=indirect, max_chain_bytes=max_chain_bytes
        )
        self.notify: Callable[[], None] | None = None
        # Counts that never wrap, unlike the 16-bit ring indices: available entries read, used
        # entries written, used entries at the last notification check, and available entries when
        # avail_event was last written.
        self._available = 0
        self._used = 0
        self._notified = 0
        self._event_written = 0
        self._heads: deque[int] = deque()
        self._in_flight: set[int] = set()

    async def next_chain(self) -> Chain | None:
        """Take the next available chain, or None if no chain is available.

        With an event index, None also means that the driver will notify of the next chain.

        Raises
        ------
        VirtqueueError
            The driver broke a rule.
        DmaError
            Host memory could not be read.
        """
        if not self._heads:
            await self._read_available()
            if not self._heads and self._event_index and self._event_written != self._available:
                self._event_written = self._available
                event = EVENT.pack(self._available & INDEX_MASK)
                await self._dma.write(self._device_addr + self.layout.avail_event, event)
                # The driver may have read the previous avail_event, so check the ring again.
                await self._read_available()
            if not self._heads:
                return None
            await self._notify_if_needed()
        head = self._heads.popleft()
        if head >= self.layout.size:
            raise AvailableRingError(
                f"head is {head}: must be below {self.layout.size}, the queue's size"
            )
        if head in self._in_flight:
            raise AvailableRingError(f"head is {head}: is available already")
        readable, writable = await self._chains.read(head)
        self._in_flight.add(head)
        return Chain(head, readable, writable)

    async def pending(self) -> bool:
        """Whether the available index covers entries that :meth:`next_chain` has not read.

        The queue's state does not change, so another task may use the queue at the same time.

        Raises
        ------
        DmaError
            Host memory could not be read.
        """
        _, index = RING_HEADER.unpack(await self._dma.read(self._driver_addr, RING_HEADER.size))
        return bool(index - self._available & INDEX_MASK)

    async def read(self, chain: Chain, offset: int = 0, size: int | None = None) -> bytes:
        """Read ``size`` bytes from byte ``offset`` of the joined readable buffers.

        Without ``size``, read all bytes from ``offset`` on.

        Raises
        ------
        DescriptorError
            The buffers have fewer bytes.
        DmaError
            Host memory could not be read.
        """
        count = chain.readable_size - offset if size is None else size
        pieces = slice_buffers(chain.readable, offset, count, "readable")
        return b"".join([await self._dma.read(address, length) for address, length in pieces])

    async def write(self, chain: Chain, data: bytes, offset: int = 0) -> None:
        """Write ``data`` at byte ``offset`` of the joined writable buffers.

        Raises
        ------
        DescriptorError
            The buffers have less space.
        DmaError
            Host memory could not be written.
        """
        start = 0
        for address, length in slice_buffers(chain.writable, offset, len(data), "writable"):
            await self._dma.write(address, data[start : start + length])
            start += length

    async def complete(self, chain: Chain, written: int) -> None:
        """Return ``chain`` as used, with ``written`` bytes written.

        Every :data:`NOTIFY_BATCH` chains, notify if the driver needs it.

        Raises
        ------
        DmaError
            Host memory could not be written or read.
        """
        slot = self._used % self.layout.size
        # len saturates: it cannot represent a chain of 2**32 bytes.
        entry = USED_ENTRY.pack(chain.head, min(written, MAX_USED_LEN))
        await self._dma.write(self._device_addr + self.layout.used_entry(slot), entry)
        self._in_flight.discard(chain.head)
        self._used += 1
        # flags stays 0, so the driver always notifies, or follows avail_event.
        header = RING_HEADER.pack(0, self._used & INDEX_MASK)
        await self._dma.write(self._device_addr, header)
        if self._used - self._notified >= NOTIFY_BATCH:
            await self._notify_if_needed()

    async def needs_notification(self) -> bool:
        """Whether the chains completed since the last call need a notification.

        Raises
        ------
        DmaError
            Host memory could not be read.
        """
        before, self._notified = self._notified, self._used
        if before == self._used:
            return False
        if self._event_index:
            address = self._driver_addr + self.layout.used_event
            (event,) = EVENT.unpack(await self._dma.read(address, EVENT.size))
            return event_passed(event, before, self._used)
        flags, _ = RING_HEADER.unpack(await self._dma.read(self._driver_addr, RING_HEADER.size))
        return not flags & NO_INTERRUPT

    async def _notify_if_needed(self) -> None:
        """Call :attr:`notify` if completed chains need a notification."""
        if self.notify is not None and await self.needs_notification():
            self.notify()

    async def _read_available(self) -> None:
        """Read the available index, then the entries it covers."""
        header = await self._dma.read(self._driver_addr, RING_HEADER.size)
        _, index = RING_HEADER.unpack(header)
        size = self.layout.size
        count = index - self._available & INDEX_MASK
        in_flight = len(self._in_flight)
        if count > size - in_flight:
            raise AvailableRingError(
                f"avail.idx is {index}, {count} more than before with {in_flight} in flight: "
                f"must be at most {size}, the queue's size"
            )
        while count:
            slot = self._available % size
            length = min(count, size - slot)
            address = self._driver_addr + self.layout.available_entry(slot)
            entries = await self._dma.read(address, AVAILABLE_ENTRY.size * length)
            self._heads.extend(head for (head,) in AVAILABLE_ENTRY.iter_unpack(entries))
            self._available += length
            count -= length


def slice_buffers(
    buffers: Sequence[Buffer], offset: int, count: int, kind: str
) -> Sequence[Buffer]:
    """Pieces that hold ``count`` bytes from byte ``offset`` of the joined ``buffers``.

    Raises
    ------
    DescriptorError
        The buffers have fewer bytes.
    """
    pieces = []
    for address, size in buffers:
        if offset >= size:
            offset -= size
            continue
        length = min(size - offset, count)
        if length > 0:
            pieces.append(Buffer(address + offset, length))
        count -= length
        offset = 0
    if count > 0 or offset > 0:
        total = sum(buffer.size for buffer in buffers)
        raise DescriptorError(f"{kind} bytes are {total}: must be {max(count, 0) + offset} more")
    return pieces
