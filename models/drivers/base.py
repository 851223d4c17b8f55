# SPDX-License-Identifier: BSD-2-Clause
"""What the drivers of all device types share: queues in host memory, and waiting for them.

Source: virtio 1.4 section 2.7.13, 2.7.14. EVENT_USED wakes a task for the device, which looks into
the queue's used ring; what is there wakes whoever waits for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from ..dma import HostMemory, free
from ..driver import Driver, DriverError, RemoteDevice, RingAllocator
from ..messages import DeviceState, Message
from ..runtime import Event, Lock, Task
from ..virtio import RING_FEATURES, DeviceStatus, Feature
from ..virtqueue import Buffer, DriverVirtqueue

TIMEOUT_US = 10_000.0
"""How long a transfer waits, in microseconds."""
QUEUE_SIZE = 64
"""Descriptors of a queue, if the device allows as many."""


class DataPathError(DriverError):
    """A queue does not work any more: the device broke a rule of the virtqueue."""


class DeviceFailedError(DataPathError):
    """The device asks for a reset, or is gone; :meth:`VirtioDriver.restart` starts over."""


class ChainTooLongError(DriverError):
    """A chain has more buffers than its queue has descriptors: there will never be room."""


class TransferTimeoutError(DriverError):
    """A buffer did not come back in time; the text names device, queue and time."""


@dataclass
class DriverStatistics:
    """What a driver has moved.

    Parameters
    ----------
    requests
        Chains that came back.
    bytes_out, bytes_in
        Payload to the device and from it, as the device type counts it.
    """

    requests: int = 0
    bytes_out: int = 0
    bytes_in: int = 0


class Transfer:
    """A chain on its way.

    Attributes
    ----------
    written
        Bytes that the device wrote, once it came back.
    """

    def __init__(self, done: Event) -> None:
        self.written: int | None = None
        self.done = done


class _QueuePath:
    def __init__(self, queue: DriverVirtqueue, turn: Lock, room: Event) -> None:
        self.queue = queue
        self.turn = turn
        self.room = room
        self.transfers: dict[int, Transfer] = {}


class VirtioDriver:
    """Queues of a device that was brought up; :meth:`probe` brings it up.

    Parameters
    ----------
    driver
        The driver that the device is behind.
    device
        The device, up to DRIVER_OK.
    memory
        Host memory, where its rings are too.
    timeout_us
        How long a transfer waits.

    Attributes
    ----------
    FEATURES
        What subclasses take of the device type's features, by mask.
    NUM_QUEUES
        Queues that subclasses use: more are not set up, and a device with fewer is refused. None
        for all that there are.
    device, memory
        As given.
    statistics
        What was moved so far.
    """

    FEATURES: ClassVar[int] = 0
    NUM_QUEUES: ClassVar[int | None] = None

    def __init__(
        self,
        driver: Driver,
        device: RemoteDevice,
        memory: HostMemory,
        *,
        timeout_us: float = TIMEOUT_US,
    ) -> None:
        self.device = device
        self.memory = memory
        self.statistics = DriverStatistics()
        self._runtime = driver.runtime
        self._timeout_us = timeout_us
        self._driver = driver
        self._failure: Exception | None = None
        self._allocated: set[int] = set()
        self._paths: dict[int, _QueuePath] = {}
        for index, ring in device.rings.items():
            queue = DriverVirtqueue(
                memory,
                ring,
                indirect=bool(device.features & Feature.INDIRECT_DESC.mask),
                event_index=bool(device.features & Feature.EVENT_IDX.mask),
            )
            path = _QueuePath(queue, Lock(self._runtime), self._runtime.event())
            self._paths[index] = path
        self._pump: Task = self._runtime.spawn(self._listen())
        driver.event_callbacks.append(self._noticed)

    @classmethod
    async def probe(
        cls,
        driver: Driver,
        dev_num: int,
        memory: HostMemory,
        *,
        queue_size: int = QUEUE_SIZE,
        ring_features: int = RING_FEATURES,
        timeout_us: float = TIMEOUT_US,
    ) -> Self:
        """Bring device ``dev_num`` up, with rings in ``memory``.

        Parameters
        ----------
        driver, dev_num, memory, timeout_us
            As above.
        queue_size
            Most descriptors of a queue; a power of two.
        ring_features
            Which of INDIRECT_DESC and EVENT_IDX to take, by mask.

        Raises
        ------
        DriverError
            A step failed.
        """
        rings = RingAllocator(max_size=queue_size, memory=memory)
        features = cls.FEATURES | ring_features
        device = await driver.probe(
            dev_num, features=features, num_queues=cls.NUM_QUEUES, rings=rings
        )
        path = cls(driver, device, memory, timeout_us=timeout_us)
        try:
            await path.start()
        except DriverError:
            path.stop()
            raise
        return path

    async def start(self) -> None:
        """Called when the queues are there: give the device buffers to fill, for one."""

    def stop(self) -> None:
        """Listen no longer. The device goes on: :meth:`close` resets it too."""
        self._pump.cancel()
        self.device.close()
        if self._noticed in self._driver.event_callbacks:
            self._driver.event_callbacks.remove(self._noticed)

    async def close(self) -> None:
        """Reset the device, and give back the memory that it used.

        Raises
        ------
        DriverError
            The device was not reset: the memory stays its own.
        """
        self.stop()
        self._give_up(DeviceFailedError("it was closed"))
        await self.device.reset()
        self._release()

    def allocate(self, size: int) -> int:
        """Bus address of ``size`` bytes for a buffer; :meth:`free` or :meth:`close` ends it."""
        address = self.memory.allocate(size)
        self._allocated.add(address)
        return address

    def free(self, address: int) -> None:
        """Give back a buffer that the device has given back."""
        self._allocated.remove(address)
        free(self.memory, address)

    def _release(self) -> None:
        """Give back the memory of every buffer and queue: the device was reset."""
        for address in tuple(self._allocated):
            self.free(address)
        for path in self._paths.values():
            path.queue.release()

    async def restart(self) -> Self:
        """Reset the device and bring it up anew, as after :class:`DeviceFailedError`.

        What was under way in this object's queues is given up.

        Raises
        ------
        DriverError
            A step failed.
        """
        self.stop()
        self._give_up(DeviceFailedError("the device was brought up anew"))
        sizes = [path.queue.layout.size for path in self._paths.values()]
        successor = await self.probe(
            self._driver,
            self.device.dev_num,
            self.memory,
            queue_size=max(sizes, default=QUEUE_SIZE),
            ring_features=self.device.features & RING_FEATURES,
            timeout_us=self._timeout_us,
        )
        # Bringing it up reset it first.
        self.device.release_queues()
        self._release()
        return successor

    def _noticed(self, event: Message) -> None:
        number = self.device.dev_num
        if event.role == "EVENT_CONFIG" and event.dev_num == number:
            if event.number("status") & DeviceStatus.NEEDS_RESET:
                self._give_up(DeviceFailedError("it asks for a reset"))
        elif (
            event.role == "BUS_EVENT_DEVICE"
            and event.number("device_number") == number
            and event.number("device_bus_state") == DeviceState.REMOVED
        ):
            self._give_up(DeviceFailedError("it was removed"))

    def _give_up(self, failure: Exception) -> None:
        self._failure = self._failure or failure
        for path in self._paths.values():
            for transfer in path.transfers.values():
                transfer.done.set()
            path.room.set()

    async def submit(
        self, index: int, readable: Sequence[Buffer], writable: Sequence[Buffer]
    ) -> Transfer:
        """Give the device a chain in queue ``index``; waits while the queue has no room.

        Raises
        ------
        ChainTooLongError
            There will never be room.
        DataPathError
            The queue does not work any more.
        TransferTimeoutError
            There was no room in time.
        """
        path = self._paths[index]
        needed, size = len(readable) + len(writable), path.queue.layout.size
        if needed > size:
            raise ChainTooLongError(
                f"device {self.device.dev_num}, queue {index}: chain has {needed} buffers: must be "
                f"{size} at most"
            )
        transfer = Transfer(self._runtime.event())
        while True:
            self._check()
            async with path.turn:
                if path.queue.free >= needed:
                    head = await path.queue.add(readable, writable)
                    path.transfers[head] = transfer
                    kick = await path.queue.wants_kick()
                    break
                path.room.clear()
            if not await self._runtime.wait(path.room, self._timeout_us):
                raise self._late(index)
        # What failed while the chain was written did not give this transfer up.
        self._check()
        if kick:
            await self.device.notify(index)
        return transfer

    async def finish(self, index: int, transfer: Transfer) -> int:
        """Wait until the device has given the chain back; the result is what it wrote, bytes.

        Raises
        ------
        DataPathError
            The queue does not work any more.
        TransferTimeoutError
            It did not in time.
        """
        if not await self._runtime.wait(transfer.done, self._timeout_us):
            raise self._late(index)
        if transfer.written is None:
            self._check()
            raise DataPathError(f"device {self.device.dev_num}: queue {index} was given up")
        return transfer.written

    async def transfer(
        self, index: int, readable: Sequence[Buffer], writable: Sequence[Buffer]
    ) -> int:
        """:meth:`submit` and :meth:`finish`."""
        return await self.finish(index, await self.submit(index, readable, writable))

    def _late(self, index: int) -> TransferTimeoutError:
        return TransferTimeoutError(
            f"device {self.device.dev_num}, queue {index}: no buffer came back for "
            f"{self._timeout_us:g} us"
        )

    def _check(self) -> None:
        if self._failure is not None:
            kind = DataPathError
            if isinstance(self._failure, DataPathError):
                kind = type(self._failure)
            raise kind(f"device {self.device.dev_num}: {self._failure}") from self._failure

    async def _listen(self) -> None:
        while True:
            message = await self.device.events.get("EVENT_USED")
            if message is None:
                continue
            path = self._paths.get(message.number("index"))
            if path is None:
                continue
            try:
                await self._collect(path)
            except Exception as error:
                # The device broke a rule, or the host's own memory failed: who waits must hear.
                self._give_up(error)
                return

    async def _collect(self, path: _QueuePath) -> None:
        while True:
            async with path.turn:
                used = await path.queue.collect()
            if not used:
                return
            for head, written in used:
                self.statistics.requests += 1
                # Whoever submitted it may have been cancelled before it was noted.
                transfer = path.transfers.pop(head, None)
                if transfer is not None:
                    transfer.written = written
                    transfer.done.set()
            path.room.set()
