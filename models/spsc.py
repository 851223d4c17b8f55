# SPDX-License-Identifier: BSD-2-Clause
"""Single-producer, single-consumer queue in shared memory, both sides.

The algorithm is written once, as generators that yield memory accesses and are sent the data of
each read. :class:`SpscQueue` runs them over a byte buffer, :class:`AsyncSpscQueue` over a memory
with latency. Source: the patch series, ``spsc_queue.h``: ``spsc_load_index``, ``spsc_send``,
``spsc_recv``. As there, a side caches the index of its peer, reads its own from shared memory each
time, and reduces every index modulo the capacity.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from .layout import QueueLayout

T = TypeVar("T")
INDEX_SIZE = 4
"""Bytes of an index word."""


class SpscError(ValueError):
    """The queue does not fit in its memory, or a message does not fit in a slot."""


class SlotSizeError(SpscError):
    """The message size is not 1 to the slot size; the text names the limit."""


@dataclass(frozen=True)
class SpscRead:
    """Read of ``size`` bytes at byte ``offset`` of the queue, in one access."""

    offset: int
    size: int


@dataclass(frozen=True)
class SpscWrite:
    """Write of ``data`` at byte ``offset`` of the queue, after all earlier accesses."""

    offset: int
    data: bytes


Steps = Generator[SpscRead | SpscWrite, bytes, T]
"""Operation that yields accesses and is sent the data of each read (anything after a write)."""


class SpscAlgorithm:
    """One side of a queue, without the memory.

    Parameters
    ----------
    layout
        Layout of the queue.
    whole_slots
        Pad every sent message with zeros to the size of a slot. Otherwise the rest of the slot
        keeps the bytes of an earlier message, as in the patch series.

    Attributes
    ----------
    cached_head
        Index of the producer when a consumer last read it. A producer does not use it.
    cached_tail
        Index of the consumer when a producer last read it. A consumer does not use it.
    """

    def __init__(self, layout: QueueLayout, *, whole_slots: bool = False) -> None:
        self.layout = layout
        self.whole_slots = whole_slots
        self.cached_head = 0
        self.cached_tail = 0

    def open(self) -> Steps[None]:
        """Read both indices, to continue from the present state of the queue."""
        self.cached_tail = yield from self._load(self.layout.tail_offset)
        self.cached_head = yield from self._load(self.layout.head_offset)

    def send(self, message: bytes) -> Steps[bool]:
        """Add a message. The result is False, without a change, if the queue is full."""
        self._check_size(len(message))
        head = yield from self._load(self.layout.head_offset)
        next_head = self.layout.next(head)
        if next_head == self.cached_tail:
            self.cached_tail = yield from self._load(self.layout.tail_offset)
            if next_head == self.cached_tail:
                return False
        if self.whole_slots:
            message = message.ljust(self.layout.slot_size, b"\0")
        yield SpscWrite(self.layout.slot_offset(head), message)
        yield from self._store(self.layout.head_offset, next_head)
        return True

    def recv(self, size: int) -> Steps[bytes | None]:
        """Remove the oldest message and return its first ``size`` bytes, or None if empty."""
        self._check_size(size)
        tail = yield from self._load(self.layout.tail_offset)
        if tail == self.cached_head:
            self.cached_head = yield from self._load(self.layout.head_offset)
            if tail == self.cached_head:
                return None
        message = yield SpscRead(self.layout.slot_offset(tail), size)
        yield from self._store(self.layout.tail_offset, self.layout.next(tail))
        return message

    def _load(self, offset: int) -> Steps[int]:
        word = yield SpscRead(offset, INDEX_SIZE)
        return int.from_bytes(word, "little") % self.layout.capacity

    def _store(self, offset: int, index: int) -> Steps[None]:
        yield SpscWrite(offset, index.to_bytes(INDEX_SIZE, "little"))

    def _check_size(self, size: int) -> None:
        if not 1 <= size <= self.layout.slot_size:
            raise SlotSizeError(f"size is {size}: must be 1 to {self.layout.slot_size}")


class SpscQueue:
    """One side of a queue in a byte buffer.

    Parameters
    ----------
    memory
        Shared memory: a bytearray or a writable view of bytes.
    base
        Byte offset of the queue in the memory.
    capacity
        Number of slots; one stays empty. It replaces the capacity of ``layout``.
    layout
        Layout of the queue.
    whole_slots
        See :class:`SpscAlgorithm`.

    Raises
    ------
    SpscError
        The queue does not fit in the memory.
    LayoutError
        The capacity is below 2.
    """

    def __init__(
        self,
        memory: bytearray | memoryview,
        base: int = 0,
        capacity: int = QueueLayout().capacity,
        *,
        layout: QueueLayout | None = None,
        whole_slots: bool = False,
    ) -> None:
        self.layout = replace(layout or QueueLayout(), capacity=capacity)
        with memoryview(memory) as view:
            available = view.nbytes
        if base < 0 or base + self.layout.size > available:
            raise SpscError(
                f"base is {base}: must be 0 to {available - self.layout.size} "
                f"for a queue of {self.layout.size} bytes in {available}"
            )
        self._memory = memory
        self._base = base
        self._algorithm = SpscAlgorithm(self.layout, whole_slots=whole_slots)
        self._run(self._algorithm.open())

    def send(self, message: bytes) -> bool:
        """Add ``message``, 1 byte to the slot size. The result is False if the queue is full.

        Raises
        ------
        SlotSizeError
            The message is empty or larger than a slot.
        """
        return self._run(self._algorithm.send(bytes(message)))

    def recv(self, size: int) -> bytes | None:
        """Remove the oldest message and return its first ``size`` bytes, or None if empty.

        Raises
        ------
        SlotSizeError
            ``size`` is not 1 to the slot size.
        """
        return self._run(self._algorithm.recv(size))

    def _run(self, steps: Steps[T]) -> T:
        try:
            access = next(steps)
            while True:
                start = self._base + access.offset
                result = b""
                if isinstance(access, SpscRead):
                    result = bytes(self._memory[start : start + access.size])
                else:
                    self._memory[start : start + len(access.data)] = access.data
                access = steps.send(result)
        except StopIteration as stop:
            value: T = stop.value
            return value


class AsyncMemory(Protocol):
    """Memory with latency, such as a BAR or a simulated RAM. Offsets are in bytes."""

    async def read(self, offset: int, size: int) -> bytes:
        """Read ``size`` bytes at ``offset``."""

    async def write(self, offset: int, data: bytes) -> None:
        """Write ``data`` at ``offset``, before all later accesses."""


class AsyncSpscQueue:
    """One side of a queue in an :class:`AsyncMemory`.

    The parameters are those of :class:`SpscQueue`. Call :meth:`open` first.
    """

    def __init__(
        self,
        memory: AsyncMemory,
        base: int = 0,
        capacity: int = QueueLayout().capacity,
        *,
        layout: QueueLayout | None = None,
        whole_slots: bool = False,
    ) -> None:
        self.layout = replace(layout or QueueLayout(), capacity=capacity)
        self._memory = memory
        self._base = base
        self._algorithm = SpscAlgorithm(self.layout, whole_slots=whole_slots)

    async def open(self) -> None:
        """Read the indices and continue from them. Call it again after the queue is zeroed."""
        await self._run(self._algorithm.open())

    async def send(self, message: bytes) -> bool:
        """Asynchronous :meth:`SpscQueue.send`."""
        return await self._run(self._algorithm.send(bytes(message)))

    async def recv(self, size: int) -> bytes | None:
        """Asynchronous :meth:`SpscQueue.recv`."""
        return await self._run(self._algorithm.recv(size))

    async def _run(self, steps: Steps[T]) -> T:
        try:
            access = next(steps)
            while True:
                start = self._base + access.offset
                result = b""
                if isinstance(access, SpscRead):
                    result = await self._memory.read(start, access.size)
                else:
                    await self._memory.write(start, access.data)
                access = steps.send(result)
        except StopIteration as stop:
            value: T = stop.value
            return value
