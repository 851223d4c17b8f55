# SPDX-License-Identifier: BSD-2-Clause
"""A queue being served: a task while there is work, and an end that leaves nothing behind.

A driver that has reset a device, or a queue of it, takes the memory of the queue for its own again
(virtio 1.4 sections 2.4, 2.6.1). So what serves a queue asks before each access whether the queue
still lives, and who ends it can wait for the access that is under way.
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
    """What a device with a data path needs of the side it is on."""

    @property
    def name(self) -> str:
        """The device, for people: its number and where it is."""

    @property
    def dma(self) -> Dma:
        """Host memory."""

    @property
    def runtime(self) -> Runtime:
        """Tasks and events."""

    def notify_used(self, queue: int) -> None:
        """Tell the driver of used buffers in ``queue``, as soon as there is room for that."""

    def forget_used(self, queue: int) -> None:
        """Drop a notification of ``queue`` that still waits for room: the queue was reset."""

    async def notify_config(self) -> None:
        """Tell the driver of a change of configuration or status."""


class QueueEndedError(Exception):
    """The queue was reset while it was served; ends the service and goes no further."""


class RevocableDma:
    """Host memory for as long as a queue lives.

    Each access lets other coroutines run, whatever the memory below does: a driver that refills a
    queue faster than it is served, or a chain of 4 GiB, keeps only its own queue busy.

    Parameters
    ----------
    link
        Has the memory, and the runtime.

    Attributes
    ----------
    alive
        Accesses may begin.
    """

    def __init__(self, link: DeviceLink) -> None:
        self.alive = True
        self._link = link
        self._under_way = 0
        self._drained = link.runtime.event()
        self._drained.set()

    async def read(self, address: int, size: int) -> bytes:
        """As :meth:`models.dma.Dma.read`.

        Raises
        ------
        QueueEndedError
            The queue lives no more.
        DmaError
            As there.
        """
        return await self._access(lambda: self._link.dma.read(address, size))

    async def write(self, address: int, data: bytes) -> None:
        """As :meth:`models.dma.Dma.write`.

        Raises
        ------
        QueueEndedError
            The queue lives no more.
        DmaError
            As there.
        """
        await self._access(lambda: self._link.dma.write(address, data))

    @property
    def busy(self) -> bool:
        """An access is under way."""
        return self._under_way > 0

    async def drain(self) -> None:
        """Wait until no access is under way."""
        await self._drained.wait()

    async def _access(self, start: Callable[[], Awaitable[T]]) -> T:
        self._check()
        self._under_way += 1
        self._drained.clear()
        try:
            result = await start()
            await self._link.runtime.yield_now()
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._drained.set()
        self._check()
        return result

    def _check(self) -> None:
        if not self.alive:
            raise QueueEndedError


class QueueService:
    """One life of a queue, from its set-up to its reset.

    Parameters
    ----------
    link
        The device's side.
    index
        The queue's number.
    make_queue
        Makes the queue's device end over its memory.
    serve
        Called with index and queue each time that there may be work, until it returns.
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
        self._again = False

    def wake(self) -> None:
        """There may be work."""
        self._again = True
        if not self._running and self._memory.alive:
            self._running = True
            self._link.runtime.spawn(self._run())

    def look(self) -> None:
        """Nobody said that there is work, but there may be: look, and wake if there is.

        A driver that has put nothing there need not have memory there.
        """
        if self._memory.alive:
            self._link.runtime.spawn(self._look())

    async def _look(self) -> None:
        with suppress(QueueEndedError, DmaError):
            if await self._queue.pending():
                self.wake()

    def end(self) -> None:
        """Begin no access to memory any more, and tell the driver nothing."""
        self._memory.alive = False
        self._link.forget_used(self._index)

    @property
    def busy(self) -> bool:
        """An access is under way."""
        return self._memory.busy

    async def drain(self) -> None:
        """Wait until no access is under way: it comes back, or is given up by the hardware."""
        await self._memory.drain()

    async def _run(self) -> None:
        try:
            while self._again and self._memory.alive:
                self._again = False
                await self._serve(self._index, self._queue)
                if await self._queue.wants_notification() and self._memory.alive:
                    self._link.notify_used(self._index)
        except QueueEndedError:
            pass
        except Exception as error:
            # A broken ring or a host that refuses; or what is behind the device failed, such as a
            # source of bytes or a wire. A driver must learn of either.
            if self._memory.alive:
                await self._failed(error)
        finally:
            self._running = False
