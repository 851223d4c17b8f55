# SPDX-License-Identifier: BSD-2-Clause
"""The device's end of a split virtqueue.

Source: virtio 1.4 section 2.7. Each access is a DMA operation and takes its time, so they are few:
ring entries and the descriptors that follow each other come in one read. What must be seen in order
is read and written in that order: an index before the entries that it covers, data before the used
entry, that before its index, and the index before the driver is notified. Whether it is notified is
decided while chains come as well (2.7.7.2): a queue that never runs empty notifies like any other.
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
"""Chains given back, while others wait, between two looks at whether the driver wants to hear."""
MAX_USED_LEN = 0xFFFF_FFFF
"""What the len of a used element can say."""


@dataclass(frozen=True)
class Chain:
    """What the driver made available as one.

    Parameters
    ----------
    head
        Number of its first descriptor, by which it is returned.
    readable, writable
        Buffers that the device may read, and those it may write.
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
    """Takes chains out of a virtqueue and gives them back. One task uses it at a time.

    Parameters
    ----------
    dma
        Host memory.
    size
        Descriptors, a power of two.
    descriptor_addr, driver_addr, device_addr
        Bus addresses of descriptor table, available ring and used ring.
    indirect
        INDIRECT_DESC was negotiated.
    event_index
        EVENT_IDX was negotiated.
    max_chain_bytes
        A chain of more bytes is refused, in either direction.

    Attributes
    ----------
    notify
        Called when the driver wants to hear of chains that were given back. It is asked before
        the queue takes chains that came meanwhile, and after every :data:`NOTIFY_BATCH`. The
        user of the queue asks :meth:`wants_notification` for the last ones before a pause: by
        then ``avail_event`` says that the queue is empty, and the driver's next chain is kicked.
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
        # Counts, which unlike the 16-bit indices of the rings never wrap: entries that were read
        # and filled, and where each stood when an event index was last written or looked at.
        self._available = 0
        self._used = 0
        self._told = 0
        self._armed = 0
        self._heads: deque[int] = deque()
        self._out: set[int] = set()

    async def next_chain(self) -> Chain | None:
        """The next chain, or None if the driver has made none available.

        With an event index None means too that the driver will notify of the next one.

        Raises
        ------
        VirtqueueError
            The driver broke a rule.
        DmaError
            Host memory could not be read.
        """
        if not self._heads:
            await self._look()
            if not self._heads and self._event_index and self._armed != self._available:
                self._armed = self._available
                event = EVENT.pack(self._available & INDEX_MASK)
                await self._dma.write(self._device_addr + self.layout.avail_event, event)
                # The driver may have looked at the old one before it changed.
                await self._look()
            if not self._heads:
                return None
            await self._tell()
        head = self._heads.popleft()
        if head >= self.layout.size:
            raise AvailableRingError(
                f"head is {head}: must be below {self.layout.size}, the queue's size"
            )
        if head in self._out:
            raise AvailableRingError(f"head is {head}: is available already")
        readable, writable = await self._chains.read(head)
        self._out.add(head)
        return Chain(head, readable, writable)

    async def pending(self) -> bool:
        """Whether the available index shows entries that :meth:`next_chain` has not read.

        Changes nothing, so another task may use the queue meanwhile.

        Raises
        ------
        DmaError
            Host memory could not be read.
        """
        _, index = RING_HEADER.unpack(await self._dma.read(self._driver_addr, RING_HEADER.size))
        return bool(index - self._available & INDEX_MASK)

    async def read(self, chain: Chain, offset: int = 0, size: int | None = None) -> bytes:
        """Bytes of the readable buffers, joined: ``size`` from ``offset``, or all that follow.

        Raises
        ------
        DescriptorError
            There are fewer.
        DmaError
            Host memory could not be read.
        """
        count = chain.readable_size - offset if size is None else size
        pieces = pieces_of(chain.readable, offset, count, "readable")
        return b"".join([await self._dma.read(at, length) for at, length in pieces])

    async def write(self, chain: Chain, data: bytes, offset: int = 0) -> None:
        """Put ``data`` into the writable buffers, joined, from byte ``offset`` on.

        Raises
        ------
        DescriptorError
            There is less room.
        DmaError
            Host memory could not be written.
        """
        start = 0
        for at, length in pieces_of(chain.writable, offset, len(data), "writable"):
            await self._dma.write(at, data[start : start + length])
            start += length

    async def complete(self, chain: Chain, written: int) -> None:
        """Give ``chain`` back, with ``written`` bytes in its writable buffers, and notify.

        Raises
        ------
        DmaError
            Host memory could not be written or read.
        """
        place = self._used % self.layout.size
        # A chain of 2**32 bytes fits no len: the field saturates.
        entry = USED_ENTRY.pack(chain.head, min(written, MAX_USED_LEN))
        await self._dma.write(self._device_addr + self.layout.used_entry(place), entry)
        self._out.discard(chain.head)
        self._used += 1
        # The flags stay zero: the driver always notifies, or as avail_event says.
        header = RING_HEADER.pack(0, self._used & INDEX_MASK)
        await self._dma.write(self._device_addr, header)
        if self._used - self._told >= NOTIFY_BATCH:
            await self._tell()

    async def wants_notification(self) -> bool:
        """Whether the driver wants to be told of what was given back since it was last asked.

        Raises
        ------
        DmaError
            Host memory could not be read.
        """
        told, self._told = self._told, self._used
        if told == self._used:
            return False
        if self._event_index:
            at = self._driver_addr + self.layout.used_event
            (event,) = EVENT.unpack(await self._dma.read(at, EVENT.size))
            return event_passed(event, told, self._used)
        flags, _ = RING_HEADER.unpack(await self._dma.read(self._driver_addr, RING_HEADER.size))
        return not flags & NO_INTERRUPT

    async def _tell(self) -> None:
        """Notify, if there is something to tell and the driver wants to hear it."""
        if self.notify is not None and await self.wants_notification():
            self.notify()

    async def _look(self) -> None:
        """Read the available index, then the entries that it covers."""
        header = await self._dma.read(self._driver_addr, RING_HEADER.size)
        _, index = RING_HEADER.unpack(header)
        size = self.layout.size
        count = index - self._available & INDEX_MASK
        if count > size - len(self._out):
            raise AvailableRingError(
                f"avail.idx is {index}, {count} more than before with {len(self._out)} under way: "
                f"must be no more than {size}, the queue's size"
            )
        while count:
            place = self._available % size
            run = min(count, size - place)
            at = self._driver_addr + self.layout.available_entry(place)
            entries = await self._dma.read(at, AVAILABLE_ENTRY.size * run)
            self._heads.extend(head for (head,) in AVAILABLE_ENTRY.iter_unpack(entries))
            self._available += run
            count -= run


def pieces_of(buffers: Sequence[Buffer], offset: int, count: int, kind: str) -> Sequence[Buffer]:
    """The pieces of ``buffers``, joined, that make ``count`` bytes from ``offset`` on.

    Raises
    ------
    DescriptorError
        They have fewer bytes.
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
