# SPDX-License-Identifier: BSD-2-Clause
"""Base of the drivers for all device types: queues in host memory, and waiting for used buffers.

Source: virtio 1.4 section 2.7.13, 2.7.14. EVENT_USED wakes a task per device, which reads the used
ring of the queue and wakes the waiter of each used chain.
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
"""Default timeout of a transfer, in microseconds."""
QUEUE_SIZE = 64
"""Default number of descriptors of a queue, if the device allows as many."""


class DataPathError(DriverError):
    """A queue no longer works: the device broke a virtqueue rule."""


class DeviceFailedError(DataPathError):
    """The device needs a reset, or was removed; :meth:`VirtioDriver.restart` resets it."""


class ChainTooLongError(DriverError):
    """A chain has more buffers than its queue has descriptors."""


class TransferTimeoutError(DriverError):
    """The device did not return a buffer in time; the text names device, queue and time."""


@dataclass
class DriverStatistics:
    """Traffic counts of a driver.

    Parameters
    ----------
    requests
        Number of used chains.
    bytes_out
        Payload bytes to the device, as the driver of the device type counts them.
    bytes_in
        Payload bytes from the device.
    """

    requests: int = 0
    bytes_out: int = 0
    bytes_in: int = 0


class Transfer:
    """Chain in flight.

    Attributes
    ----------
    written
        Bytes that the device wrote; None until the device returns the chain.
    done
        Set when the device has returned the chain or the queue has failed.
    """

    def __init__(self, done: Event) -> None:
        self.written: int | None = None
        self.done = done


class _QueuePath:
    def __init__(self, queue: DriverVirtqueue, lock: Lock, space: Event) -> None:
        self.queue = queue
        self.lock = lock
        self.space = space
        self.transfers: dict[int, Transfer] = {}


class VirtioDriver:
    """Data path of a device: its queues, over a device that :meth:`probe` brings up.

    Parameters
    ----------
    driver
        Driver of the bus.
    device
        Device with DRIVER_OK.
    memory
        Host memory, which also has the rings.
    timeout_us
        Timeout of a transfer, in microseconds.

    Attributes
    ----------
    FEATURES
        Mask of the device type's features that a subclass supports.
    NUM_QUEUES
        Number of queues that a subclass uses. Further queues are not set up, and a device with
        fewer is refused. None uses all queues.
    device, memory
        As passed to the constructor.
    statistics
        Traffic counts.
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
        self._task: Task = self._runtime.spawn(self._handle_used())
        driver.event_callbacks.append(self._on_event)

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
        driver, memory, timeout_us
            See the constructor.
        dev_num
            Device number.
        queue_size
            Most descriptors of a queue; a power of two.
        ring_features
            Mask of the features to accept out of INDIRECT_DESC and EVENT_IDX.

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
        result = cls(driver, device, memory, timeout_us=timeout_us)
        try:
            await result.start()
        except DriverError:
            result.stop()
            raise
        return result

    async def start(self) -> None:
        """Prepare the queues once they are set up, for instance with receive buffers."""

    def stop(self) -> None:
        """Stop handling events. The device keeps running; :meth:`close` also resets it."""
        self._task.cancel()
        self.device.close()
        if self._on_event in self._driver.event_callbacks:
            self._driver.event_callbacks.remove(self._on_event)

    async def close(self) -> None:
        """Reset the device and free the memory that it used.

        Raises
        ------
        DriverError
            The device was not reset, so its memory is not freed.
        """
        self.stop()
        self._fail(DeviceFailedError("was closed"))
        await self.device.reset()
        self._release()

    def allocate(self, size: int) -> int:
        """Allocate ``size`` bytes for a buffer, until :meth:`free` or :meth:`close`."""
        address = self.memory.allocate(size)
        self._allocated.add(address)
        return address

    def free(self, address: int) -> None:
        """Free a buffer that the device has returned."""
        self._allocated.remove(address)
        free(self.memory, address)

    def _release(self) -> None:
        """Free the memory of all buffers and queues. The device must have been reset."""
        for address in tuple(self._allocated):
            self.free(address)
        for path in self._paths.values():
            path.queue.release()

    async def restart(self) -> Self:
        """Reset the device and bring it up again, as after :class:`DeviceFailedError`.

        Transfers in flight in the queues of this object fail.

        Returns
        -------
        Self
            Driver that replaces this one.

        Raises
        ------
        DriverError
            A step failed.
        """
        self.stop()
        self._fail(DeviceFailedError("was restarted"))
        sizes = [path.queue.layout.size for path in self._paths.values()]
        successor = await self.probe(
            self._driver,
            self.device.dev_num,
            self.memory,
            queue_size=max(sizes, default=QUEUE_SIZE),
            ring_features=self.device.features & RING_FEATURES,
            timeout_us=self._timeout_us,
        )
        # Safe: the probe has reset the device.
        self.device.release_queues()
        self._release()
        return successor

    def _on_event(self, event: Message) -> None:
        number = self.device.dev_num
        if event.role == "EVENT_CONFIG" and event.dev_num == number:
            if event.number("status") & DeviceStatus.NEEDS_RESET:
                self._fail(DeviceFailedError("needs a reset"))
        elif (
            event.role == "BUS_EVENT_DEVICE"
            and event.number("device_number") == number
            and event.number("device_bus_state") == DeviceState.REMOVED
        ):
            self._fail(DeviceFailedError("was removed"))

    def _fail(self, failure: Exception) -> None:
        self._failure = self._failure or failure
        for path in self._paths.values():
            for transfer in path.transfers.values():
                transfer.done.set()
            path.space.set()

    async def submit(
        self, index: int, readable: Sequence[Buffer], writable: Sequence[Buffer]
    ) -> Transfer:
        """Make a chain available in queue ``index``, waiting while the queue is full.

        Raises
        ------
        ChainTooLongError
            The chain has more buffers than the queue has descriptors.
        DataPathError
            The queue no longer works.
        TransferTimeoutError
            The queue stayed full.
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
            self._check_failure()
            async with path.lock:
                if path.queue.free >= needed:
                    head = await path.queue.add(readable, writable)
                    path.transfers[head] = transfer
                    kick = await path.queue.needs_kick()
                    break
                path.space.clear()
            if not await self._runtime.wait(path.space, self._timeout_us):
                raise self._timeout_error(index)
        # Check again: a failure while the chain was written has not ended this transfer.
        self._check_failure()
        if kick:
            await self.device.notify(index)
        return transfer

    async def finish(self, index: int, transfer: Transfer) -> int:
        """Wait until the device returns the chain, and return the number of bytes it wrote.

        Raises
        ------
        DataPathError
            The queue no longer works.
        TransferTimeoutError
            The device did not return the chain in time.
        """
        if not await self._runtime.wait(transfer.done, self._timeout_us):
            raise self._timeout_error(index)
        if transfer.written is None:
            self._check_failure()
            raise DataPathError(f"device {self.device.dev_num}: queue {index} has failed")
        return transfer.written

    async def transfer(
        self, index: int, readable: Sequence[Buffer], writable: Sequence[Buffer]
    ) -> int:
        """:meth:`submit` and :meth:`finish`."""
        return await self.finish(index, await self.submit(index, readable, writable))

    def _timeout_error(self, index: int) -> TransferTimeoutError:
        return TransferTimeoutError(
            f"device {self.device.dev_num}, queue {index}: no buffer was returned for "
            f"{self._timeout_us:g} us"
        )

    def _check_failure(self) -> None:
        if self._failure is not None:
            error_type = DataPathError
            if isinstance(self._failure, DataPathError):
                error_type = type(self._failure)
            raise error_type(f"device {self.device.dev_num}: {self._failure}") from self._failure

    async def _handle_used(self) -> None:
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
                # The device broke a rule, or host memory failed: fail all pending transfers.
                self._fail(error)
                return

    async def _collect(self, path: _QueuePath) -> None:
        while True:
            async with path.lock:
                used = await path.queue.collect()
            if not used:
                return
            for head, written in used:
                self.statistics.requests += 1
                # The submitting task may have been cancelled before it stored the transfer.
                transfer = path.transfers.pop(head, None)
                if transfer is not None:
                    transfer.written = written
                    transfer.done.set()
            path.space.set()
