# SPDX-License-Identifier: BSD-2-Clause
"""Device as seen by a driver: status, features, configuration, queues.

The order of messages in each step is that of the Linux driver: to set a status bit, it reads the
status and writes it back with the bit.
"""

from __future__ import annotations

import weakref

from ..devices import SharedMemory
from ..messages import QUEUE_ENABLED, Message, MessageKind, QueueOperation
from ..runtime import sleep
from ..virtio import (
    BASE_FEATURES,
    UNSUPPORTED_FEATURES,
    DeviceStatus,
    Feature,
    feature_names,
)
from ..virtqueue.layout import MAX_QUEUE_SIZE
from .channel import DeviceChannel
from .config import RemoteConfig
from .errors import (
    DriverError,
    DriverStoppedError,
    FeaturesRefusedError,
    NoDeviceError,
    QueueError,
    RequestTimeoutError,
    StatusError,
)
from .exchange import Exchange
from .features import RemoteFeatures
from .info import DeviceInfo, QueueInfo
from .rings import Ring, RingAllocator

MAX_QUEUES = 1 << 16
"""Most queues that a device may announce: a virtqueue index has 16 bits (virtio 2.6)."""
RESET_POLLS = 100
"""Most reads of the status after a reset."""
RESET_POLL_US = 10.0
"""Delay between two reads of the status after a reset."""
_UNREACHABLE = (RequestTimeoutError, NoDeviceError, DriverStoppedError)
"""Errors after which the device does not respond."""


class RemoteDevice:
    """Device on the bus of a :class:`~models.driver.Driver`, made by :meth:`Driver.device`.

    Attributes
    ----------
    dev_num
        Device number.
    info
        Contents of DEVICE_INFO.
    features
        Mask of the negotiated features.
    rings
        Rings of the queues that are set up, by index.
    events
        Events of the device, in order of arrival.
    """

    def __init__(self, exchange: Exchange, dev_num: int, info: DeviceInfo) -> None:
        self.dev_num = dev_num
        self.info = info
        self.features = 0
        self.rings: dict[int, Ring] = {}
        self.events = exchange.subscribe(dev_num)
        self._exchange = exchange
        self._channel = DeviceChannel(exchange, dev_num)
        self._config = RemoteConfig(self._channel, info.config_size)
        self._features = RemoteFeatures(self._channel, info.num_feature_bits)
        self._status = 0
        self._allocators: dict[int, RingAllocator] = {}
        # Unsubscribe objects that are discarded without close().
        weakref.finalize(self, exchange.unsubscribe, self.events).atexit = False

    def close(self) -> None:
        """Stop receiving events."""
        self._exchange.unsubscribe(self.events)

    async def bring_up(
        self,
        *,
        features: int = 0,
        num_queues: int | None = None,
        rings: RingAllocator,
    ) -> None:
        """Execute all steps from reset to DRIVER_OK; see :meth:`Driver.probe`."""
        try:
            await self.reset()
            await self.add_status(DeviceStatus.ACKNOWLEDGE)
            await self.add_status(DeviceStatus.DRIVER)
            await self.negotiate(features)
            await self._set_up_queues(num_queues, rings)
            await self.add_status(DeviceStatus.DRIVER_OK)
            self._check_ready()
        except DriverError as error:
            # Set FAILED on a device that still responds (virtio 3.1.1).
            if not isinstance(error, _UNREACHABLE):
                await self.add_status(DeviceStatus.FAILED)
            raise

    async def _set_up_queues(self, num_queues: int | None, rings: RingAllocator) -> None:
        """Set up the first ``num_queues`` queues, or all queues, whose indices may have gaps."""
        if num_queues is not None:
            for index in range(num_queues):
                await self.set_up_queue(index, rings)
            return
        if self.info.max_vqs > MAX_QUEUES:
            raise QueueError(
                f"device {self.dev_num}: max_vqs is {self.info.max_vqs}: must be {MAX_QUEUES} at "
                f"most"
            )
        for index in range(self.info.max_vqs):
            info = await self.queue(index)
            if info.max_size:
                await self._set_up(index, info, rings)

    async def shutdown(self) -> None:
        """Reset the device, reset each queue, and set ACKNOWLEDGE again."""
        indices = sorted(self.rings)
        await self.reset()
        for index in indices:
            # The Linux driver of the series does so although the device has been reset. Later
            # revisions forbid it without RING_RESET.
            if not self._has_queue_flags:
                await self.reset_queue(index)
        self.features = 0
        await self.status()
        await self.add_status(DeviceStatus.ACKNOWLEDGE)

    # Status

    async def status(self) -> int:
        """Read the status byte."""
        self._status = (await self._channel.request("GET_DEVICE_STATUS")).number("status")
        return self._status

    async def write_status(self, status: int) -> int:
        """Write the status and return the resulting status of the device."""
        response = await self._channel.request("SET_DEVICE_STATUS", status=status)
        self._status = response.number("status")
        return self._status

    async def add_status(self, bits: int) -> int:
        """Set further status bits and return the resulting status of the device."""
        return await self.write_status(await self.status() | bits)

    async def reset(self) -> None:
        """Reset the device and wait until its status is 0.

        The rings are freed, and earlier events are dropped.

        Raises
        ------
        DriverError
            The status did not become 0.
        """
        status = await self.write_status(0)
        for _ in range(RESET_POLLS):
            if status == 0:
                self._exchange.generations.pop(self.dev_num, None)
                self.events.clear()
                self.release_queues()
                return
            await sleep(self._exchange.runtime, RESET_POLL_US)
            status = await self.status()
        raise DriverError(f"device {self.dev_num}: status is {status:#04x} after reset: must be 0")

    def release_queues(self) -> None:
        """Free the rings of all queues. The device must have been reset."""
        for index in list(self.rings):
            self._release(index)

    def _release(self, index: int) -> None:
        """Free the ring of queue ``index``, which was reset."""
        ring, allocator = self.rings.pop(index, None), self._allocators.pop(index, None)
        if ring is not None and allocator is not None:
            allocator.release(ring)

    def _check_ready(self) -> None:
        if not self._status & DeviceStatus.DRIVER_OK:
            raise StatusError(
                f"device {self.dev_num}: status is {self._status:#04x}: must have DRIVER_OK"
            )

    # Features

    async def offered_features(self) -> int:
        """Read the mask of the offered features; see :meth:`RemoteFeatures.offered`."""
        return await self._features.offered()

    async def select_features(self, features: int) -> None:
        """Write the selection, unchecked; see :meth:`RemoteFeatures.select`."""
        await self._features.select(features)

    async def negotiate(self, features: int = 0) -> int:
        """Select the offered features out of ``features`` and the base features.

        Raises
        ------
        FeaturesRefusedError
            The device lacks VERSION_1 or does not accept the selection.
        """
        offered = await self.offered_features()
        if not offered & Feature.VERSION_1.mask:
            raise FeaturesRefusedError(f"device {self.dev_num}: does not offer VERSION_1")
        supported = features | BASE_FEATURES
        selected = offered & supported & ~UNSUPPORTED_FEATURES
        await self.select_features(selected)
        await self.add_status(DeviceStatus.FEATURES_OK)
        if not await self.status() & DeviceStatus.FEATURES_OK:
            names = feature_names(selected)
            raise FeaturesRefusedError(f"device {self.dev_num}: does not accept {names}")
        self.features = selected
        return selected

    # Configuration space

    async def config_generation(self) -> int:
        """Read the configuration generation; see :meth:`RemoteConfig.generation`."""
        return await self._config.generation()

    async def read_config(self, offset: int, size: int) -> bytes:
        """Read configuration space; see :meth:`RemoteConfig.read`."""
        return await self._config.read(offset, size)

    async def write_config(self, offset: int, data: bytes) -> None:
        """Write configuration space; see :meth:`RemoteConfig.write`."""
        await self._config.write(offset, data)

    # Queues

    async def queue(self, index: int) -> QueueInfo:
        """Read the state of queue ``index``."""
        response = await self._channel.request("GET_VQUEUE", index=index)
        names = ("size", "descriptor_addr", "driver_addr", "device_addr")
        ring = Ring(**{name: response.number(name) for name in names})
        enabled = None
        if response.layout.has("flags"):
            enabled = bool(response.number("flags") & QUEUE_ENABLED)
        return QueueInfo(max_size=response.number("max_size"), ring=ring, enabled=enabled)

    async def set_up_queue(self, index: int, rings: RingAllocator) -> Ring:
        """Read the maximum size of a queue, and set it up with a ring from ``rings``.

        The queue is read back if the revision reports whether it is enabled. The Linux driver of
        the series does not read it back.

        Raises
        ------
        QueueError
            There is no such queue, its maximum size is invalid, it is enabled, the ring is too
            large, or the queue did not accept its ring.
        """
        return await self._set_up(index, await self._existing_queue(index), rings)

    async def _set_up(self, index: int, info: QueueInfo, rings: RingAllocator) -> Ring:
        if info.max_size > MAX_QUEUE_SIZE or info.max_size & (info.max_size - 1):
            raise QueueError(
                f"device {self.dev_num}: queue {index}: max_size is {info.max_size}: must be a "
                f"power of two up to {MAX_QUEUE_SIZE}"
            )
        if info.enabled:
            raise QueueError(f"device {self.dev_num}: queue {index} is enabled: reset it first")
        ring = rings.allocate(info.max_size)
        if ring.size > info.max_size:
            raise QueueError(
                f"device {self.dev_num}: queue {index}: ring has {ring.size} descriptors: must be "
                f"{info.max_size} at most"
            )
        await self.set_queue(index, ring)
        self.rings[index], self._allocators[index] = ring, rings
        if self._has_queue_flags:
            await self.confirm_queue(index)
        return ring

    async def _existing_queue(self, index: int) -> QueueInfo:
        info = await self.queue(index)
        if info.max_size == 0:
            raise QueueError(f"device {self.dev_num}: there is no queue {index}")
        return info

    @property
    def _has_queue_flags(self) -> bool:
        """The revision has flags for the state of a queue, with the driver rules for them."""
        return self._channel.dialect.layout("SET_VQUEUE", MessageKind.REQUEST).has("flags")

    async def set_queue(self, index: int, ring: Ring) -> None:
        """Set size and addresses of a queue and enable it; :meth:`queue` reads the result."""
        flags = {"flags": QueueOperation.ENABLE} if self._has_queue_flags else {}
        await self._channel.request(
            "SET_VQUEUE",
            **flags,
            index=index,
            size=ring.size,
            descriptor_addr=ring.descriptor_addr,
            driver_addr=ring.driver_addr,
            device_addr=ring.device_addr,
        )

    async def confirm_queue(self, index: int) -> None:
        """Read queue ``index`` back and check it.

        Raises
        ------
        QueueError
            The state differs from that set by :meth:`set_up_queue`.
        """
        found = await self.queue(index)
        if found.ring != self.rings.get(index) or found.enabled is False:
            raise QueueError(f"device {self.dev_num}: queue {index} did not accept its ring")

    async def reset_queue(self, index: int) -> None:
        """Send RESET_VQUEUE. With RING_RESET, the queue can then be set up again.

        The Linux driver of the series also sends it without RING_RESET, to no effect.

        Raises
        ------
        QueueError
            In a revision with flags for the state of a queue: RING_RESET was not negotiated, or
            there is no such queue.
        """
        negotiated = bool(self.features & Feature.RING_RESET.mask)
        if self._has_queue_flags:
            if not negotiated:
                raise QueueError(f"device {self.dev_num}: RING_RESET was not negotiated")
            await self._existing_queue(index)
        await self._channel.request("RESET_VQUEUE", index=index)
        if negotiated:
            self._release(index)

    # Shared memory

    async def shared_memory(self, shmid: int) -> SharedMemory | None:
        """Look up the shared memory region ``shmid``; None if the device does not have it.

        Raises
        ------
        MessageError
            The revision has no GET_SHM.
        """
        response = await self._channel.request("GET_SHM", shmid=shmid)
        length = response.number("length")
        if not length:
            return None
        return SharedMemory(address=response.number("address"), length=length)

    # Notifications

    async def notify(self, index: int, *, next_offset: int = 0, next_wrap: int = 0) -> None:
        """Notify the device with EVENT_AVAIL that queue ``index`` has buffers.

        Raises
        ------
        QueueError
            The queue is not set up.
        StatusError
            The last status read or written lacks DRIVER_OK.
        """
        if index not in self.rings:
            raise QueueError(f"device {self.dev_num}: queue {index} is not set up")
        self._check_ready()
        await self._exchange.notify(
            "EVENT_AVAIL",
            dev_num=self.dev_num,
            index=index,
            next_offset=next_offset,
            next_wrap=next_wrap,
        )

    async def wait_used(self, index: int, timeout_us: float | None = None) -> Message | None:
        """Wait for an EVENT_USED of queue ``index``; None on timeout."""
        return await self.events.get("EVENT_USED", index=index, timeout_us=timeout_us)

    async def wait_config(self, timeout_us: float | None = None) -> Message | None:
        """Wait for an EVENT_CONFIG; None on timeout."""
        return await self.events.get("EVENT_CONFIG", timeout_us=timeout_us)
