# SPDX-License-Identifier: BSD-2-Clause
"""Service of a queue: a task while there is work, without accesses after its end.

A driver that has reset a device or a queue may reuse the memory of the queue (virtio 1.4 sections
2.4, 2.6.1). A service therefore checks before each access that the queue has not ended, and its
owner can wait for the access in flight.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol, TypeVar

from ..dma import Dma, DmaError
from ..runtime import Runtime
from ..virtqueue import DeviceVirtqueue

T = TypeVar("T")


class DeviceLink(Protocol):
    """Interface of a device with a data path to its device side."""

    @property
    def name(self) -> str:
        """Name of the device in logs: its number and FIFO."""

    @property
    def dma(self) -> Dma:
        """Host memory."""

    @property
    def runtime(self) -> Runtime:
        """Tasks and events."""

    def notify_used(self, queue: int) -> None:
        """Notify the driver of used buffers in ``queue``, as soon as the bus has space."""

    def cancel_used(self, queue: int) -> None:
        """Drop a pending notification of ``queue``, which was reset."""

    async def notify_config(self) -> None:
        """Notify the driver of a change of configuration or status."""


class QueueEndedError(Exception):
    """The queue was reset while it was served. It ends the service without an error."""


class RevocableDma:
    """Access to host memory until the queue is reset.

    Each access lets other coroutines run, whatever the underlying memory does. A driver that
    refills a queue faster than it is served, or a chain of 4 GiB, therefore occupies one queue
    only.

    Parameters
    ----------
    link
        Provides memory and runtime.

    Attributes
    ----------
    alive
        Accesses may start.
    """

    def __init__(self, link: DeviceLink) -> None:
        self.alive = True
        self._link = link
        self._in_flight = 0
        self._drained = link.runtime.event()
        self._drained.set()

    async def read(self, address: int, size: int) -> bytes:
        """Implement :meth:`models.dma.Dma.read`.

        Raises
        ------
        QueueEndedError
            The queue was reset.
        DmaError
            See :meth:`models.dma.Dma.read`.
        """
        return await self._access(lambda: self._link.dma.read(address, size))

    async def write(self, address: int, data: bytes) -> None:
        """Implement :meth:`models.dma.Dma.write`.

        Raises
        ------
        QueueEndedError
            The queue was reset.
        DmaError
            See :meth:`models.dma.Dma.write`.
        """
        await self._access(lambda: self._link.dma.write(address, data))

    @property
    def busy(self) -> bool:
        """An access is in flight."""
        return self._in_flight > 0

    async def drain(self) -> None:
        """Wait until no access is in flight."""
        await self._drained.wait()

    async def _access(self, start: Callable[[], Awaitable[T]]) -> T:
        self._check()
        self._in_flight += 1
        self._drained.clear()
        try:
            result = await start()
            await self._link.runtime.yield_now()
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._drained.set()
        self._check()
        return result

    def _check(self) -> None:
        if not self.alive:
            raise QueueEndedError


class QueueService:
    """Service of a queue from its set-up to its reset.

    Parameters
    ----------
    link
        Device side.
    index
        Number of the queue.
    make_queue
        Makes the device side of the virtqueue over the given memory.
    serve
        Called with index and queue when there may be work. It returns when all work is done.
    failed
        Called with the error that ended the service.
    """

    def __init__(
        self,
        link: DeviceLink,
        index: int,
        make_queue: Callable[[Dma], DeviceVirtqueue],
        serve: Callable[[int, DeviceVirtqueue], Awaitable[None]],
        failed: Callable[[Exception], Awaitable[None]],
    ) -> None:
        self._link = link
        self._index = index
        self._memory = RevocableDma(link)
        self._queue = make_queue(self._memory)
        self._queue.notify = lambda: link.notify_used(index)
        self._serve = serve
        self._failed = failed
        self._running = False
        self._woken = False

    def wake(self) -> None:
        """Serve the queue: it may have work."""
        self._woken = True
        if not self._running and self._memory.alive:
            self._running = True
            self._link.runtime.spawn(self._run())

    def check_available(self) -> None:
        """Check for available buffers without a notification, and serve the queue if there are any.

        Failed accesses are ignored: an unused queue need not have memory.
        """
        if self._memory.alive:
            self._link.runtime.spawn(self._check_available())

    async def _check_available(self) -> None:
        with suppress(QueueEndedError, DmaError):
            if await self._queue.pending():
                self.wake()

    def end(self) -> None:
        """Start no further access to memory, and drop a pending notification."""
        self._memory.alive = False
        self._link.cancel_used(self._index)

    @property
    def busy(self) -> bool:
        """An access is in flight."""
        return self._memory.busy

    async def drain(self) -> None:
        """Wait until no access is in flight. The hardware completes or aborts each access."""
        await self._memory.drain()

    async def _run(self) -> None:
        try:
            while self._woken and self._memory.alive:
                self._woken = False
                await self._serve(self._index, self._queue)
                if await self._queue.needs_notification() and self._memory.alive:
                    self._link.notify_used(self._index)
        except QueueEndedError:
            pass
        except Exception as error:
            # An invalid ring, a refused access, or a failure behind the device, such as in a source
            # of bytes or a wire. The driver is notified of each.
            if self._memory.alive:
                await self._failed(error)
        finally:
            self._running = False
