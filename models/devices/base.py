# SPDX-License-Identifier: BSD-2-Clause
"""The virtio device: status, features, configuration space and queues, without a transport.

Sources: virtio 1.4 sections 2.1 (status), 2.2 (features), 2.5 (configuration space); the
transport's demands on a device come from the patch series, ``virtio-msg.c``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from ..dma import Dma, DmaError
from ..messages import QueueOperation
from ..virtio import (
    BASE_FEATURES,
    FEATURE_BITS,
    MIN_FEATURE_BITS,
    RING_FEATURES,
    UNSUPPORTED_FEATURES,
    DeviceStatus,
    Feature,
    feature_names,
)
from ..virtqueue import Chain, DeviceVirtqueue, VirtqueueError
from .queue import QueueState
from .service import DeviceLink, QueueService

VENDOR_ID = 0x1AF4
"""The PCI vendor id of virtio itself: these devices are nobody's product."""
FEATURE_WORDS = FEATURE_BITS // 32
MAX_REFUSED_BLOCKS = 1024
"""Feature blocks beyond those that a device has in which a driver may select bits and take them
back; with more, only a reset mends the selection."""
PIECE = 64 << 10
"""Bytes of a chain, which may have 4 GiB, that a device holds at once; a multiple of any sector."""
_LOG = logging.getLogger(__name__)
_DRIVER_BITS = (
    DeviceStatus.ACKNOWLEDGE
    | DeviceStatus.DRIVER
    | DeviceStatus.DRIVER_OK
    | DeviceStatus.FEATURES_OK
    | DeviceStatus.FAILED
)


@dataclass(frozen=True, kw_only=True)
class SharedMemory:
    """A shared memory region of a device (virtio 2.10): bus address and length in bytes."""

    address: int
    length: int


class VirtioDevice:
    """A virtio device; subclasses set ``device_id`` and what they offer.

    Parameters
    ----------
    features
        Feature bits offered, by mask, besides :data:`~models.virtio.BASE_FEATURES`, which every
        device offers.
    config
        Initial contents of configuration space.
    writable
        Byte offsets of configuration space that the driver may write.
    queue_sizes
        The maximum size of each queue; powers of two.

    Raises
    ------
    ValueError
        A queue's size is not a power of two from 1 to 32768; a feature is above bit 127, or one
        that is not implemented.

    Attributes
    ----------
    device_id, vendor_id
        32 bits each.
    offered
        Feature bits, by mask.
    selected
        What the driver wrote; binding once ``FEATURES_OK`` is set.
    queues
        The queues, by index.
    generation
        Counts changes of configuration space, 32 bits, wrapping.
    uuid
        What tells this device from others of its kind, if anything does; version 4 is usual.
    shared_memory
        Its shared memory regions, by id.
    failure
        What made the device ask for a reset, if anything did since the last one.

    Notes
    -----
    Whatever code behind the device raises, in any method that a subclass overrides, ends in
    :meth:`fail`: see :mod:`models.transport` for requests and :class:`QueueService` for queues.
    """

    device_id = 0
    vendor_id = VENDOR_ID

    def __init__(
        self,
        *,
        features: int = 0,
        config: bytes = b"",
        writable: range = range(0),
        queue_sizes: Sequence[int] = (),
    ) -> None:
        if features >> FEATURE_BITS:
            raise ValueError(f"features is {features:#x}: must fit {FEATURE_BITS} bits")
        if features & UNSUPPORTED_FEATURES:
            names = feature_names(features & UNSUPPORTED_FEATURES)
            raise ValueError(f"features is {features:#x}: must be without {names}")
        for size in queue_sizes:
            if not 1 <= size <= 32768 or size & (size - 1):
                raise ValueError(f"queue size is {size}: must be a power of two from 1 to 32768")
        self.offered = features | BASE_FEATURES
        self.selected = 0
        self.queues = tuple(QueueState(max_size=size) for size in queue_sizes)
        self.generation = 0
        self.uuid: UUID | None = None
        self.shared_memory: dict[int, SharedMemory] = {}
        self._config = bytearray(config)
        self._writable = writable
        self._status = DeviceStatus(0)
        self._refused_blocks: set[int] = set()
        self.failure: Exception | None = None
        self._link: DeviceLink | None = None
        self._services: dict[int, QueueService] = {}
        self._ended: list[QueueService] = []

    def attach(self, link: DeviceLink) -> None:
        """Give the device its data path: from now on its queues move data."""
        self._link = link
        self.offered |= RING_FEATURES

    # Status

    @property
    def status(self) -> int:
        """The status byte."""
        return int(self._status)

    @property
    def running(self) -> bool:
        """DRIVER_OK is set and nothing asks for a reset: queues may be processed."""
        return (
            bool(self._status & DeviceStatus.DRIVER_OK)
            and not self._status & DeviceStatus.NEEDS_RESET
        )

    def write_status(self, value: int) -> None:
        """What the driver's write of ``value``, any number, does; 0 resets the device.

        A bit stays set until reset. NEEDS_RESET and bits without a meaning are not the driver's
        to set. FEATURES_OK is refused for a selection that the device cannot work with, and
        DRIVER_OK without FEATURES_OK; the driver learns of it by reading the status back.
        """
        if value == 0:
            self.reset()
            return
        wanted = DeviceStatus(value & _DRIVER_BITS) & ~self._status
        if wanted & DeviceStatus.FEATURES_OK and not self.features_acceptable():
            wanted &= ~DeviceStatus.FEATURES_OK
        if not (self._status | wanted) & DeviceStatus.FEATURES_OK:
            wanted &= ~DeviceStatus.DRIVER_OK
        self._status |= wanted
        if wanted & DeviceStatus.DRIVER_OK:
            for index in range(len(self.queues)):
                self._look(index)

    def needs_reset(self) -> None:
        """Ask the driver for a reset: the device cannot go on (virtio 2.1.2)."""
        self._status |= DeviceStatus.NEEDS_RESET

    def fail(self, error: Exception) -> None:
        """Stop all queues and ask for a reset, because of ``error`` (virtio 2.1.2).

        The first error since the last reset is kept in :attr:`failure` and logged, with its
        traceback unless a driver or its host brought it about. The caller tells the driver.
        """
        self._end(range(len(self.queues)))
        self.needs_reset()
        if self.failure is not None:
            return
        self.failure = error
        name = self._link.name if self._link is not None else type(self).__name__
        if isinstance(error, (VirtqueueError, DmaError)):
            _LOG.warning("%s needs a reset: %s", name, error)
        else:
            _LOG.error("%s needs a reset: %r", name, error, exc_info=error)

    def reset(self) -> None:
        """Back to the state before the driver came; configuration space keeps its contents.

        No access to the queues' memory begins after that; :meth:`drain` waits for the last one.
        """
        self.clear()

    def clear(self) -> None:
        """The part of :meth:`reset` that every device has; not to be overridden."""
        self._end(range(len(self.queues)))
        self.failure = None
        self._status = DeviceStatus(0)
        self.selected = 0
        self._refused_blocks.clear()
        for queue in self.queues:
            queue.reset()

    # Features

    @property
    def num_feature_bits(self) -> int:
        """Feature bits that the device announces: whole blocks of 32 with all that it offers."""
        return max(MIN_FEATURE_BITS, -(-self.offered.bit_length() // 32) * 32)

    def offered_word(self, index: int) -> int:
        """Block ``index`` of the offered features, 32 bits; 0 beyond the last."""
        return self.offered >> 32 * index & 0xFFFF_FFFF if index < FEATURE_WORDS else 0

    def select_word(self, index: int, word: int) -> None:
        """The driver's selection for block ``index``; ignored once FEATURES_OK is set."""
        if self._status & DeviceStatus.FEATURES_OK:
            return
        if index < FEATURE_WORDS:
            self.selected &= ~(0xFFFF_FFFF << 32 * index)
            self.selected |= word << 32 * index
        elif not word:
            self._refused_blocks.discard(index)
        else:
            # -1 stands for the blocks that are not counted one by one.
            full = len(self._refused_blocks) >= MAX_REFUSED_BLOCKS
            self._refused_blocks.add(-1 if full else index)

    def features_acceptable(self) -> bool:
        """Whether the device works with the selection: all of it offered, VERSION_1 among it."""
        return (
            not self._refused_blocks
            and not self.selected & ~self.offered
            and bool(self.selected & Feature.VERSION_1.mask)
        )

    def negotiated(self, feature: int) -> bool:
        """Whether feature bit ``feature`` was offered, selected and confirmed."""
        return bool(self._status & DeviceStatus.FEATURES_OK) and bool(self.selected >> feature & 1)

    # Configuration space

    @property
    def config_size(self) -> int:
        """Bytes of configuration space."""
        return len(self._config)

    def read_config(self, offset: int, size: int) -> bytes | None:
        """``size`` bytes at ``offset``; None when any of them lies outside."""
        if offset + size > len(self._config):
            return None
        return bytes(self._config[offset : offset + size])

    def write_config(self, offset: int, data: bytes) -> bool:
        """The driver's write: all of it, or False and nothing.

        Refused when a byte lies outside or is not writable.
        """
        if not data:
            return offset <= len(self._config)
        end = offset + len(data)
        if end > len(self._config) or any(at not in self._writable for at in range(offset, end)):
            return False
        if self._config[offset:end] != data:
            self._config[offset:end] = data
            self.config_changed()
        return True

    def update_config(self, offset: int, data: bytes) -> None:
        """The device's own change; ``Transport.notify_config`` tells the driver.

        Raises
        ------
        ValueError
            The bytes lie outside configuration space.
        """
        end = offset + len(data)
        if not 0 <= offset <= end <= self.config_size:
            raise ValueError(f"config bytes {offset} to {end}: must lie in 0 to {self.config_size}")
        self._config[offset:end] = data
        self.config_changed()

    def config_changed(self) -> None:
        """Count a change, so that a driver that reads in pieces notices."""
        self.generation = self.generation + 1 & 0xFFFF_FFFF

    # Queues

    def queue(self, index: int) -> QueueState | None:
        """Queue ``index``, any number; None when there is none."""
        return self.queues[index] if 0 <= index < len(self.queues) else None

    def configure_queue(self, index: int, operation: QueueOperation, **given: int | None) -> bool:
        """SET_VQUEUE; as :meth:`QueueState.update`, and False when there is no such queue."""
        queue = self.queue(index)
        if queue is None or not queue.update(operation, **given):
            return False
        self._look(index)
        return True

    def reset_queue(self, index: int) -> None:
        """RESET_VQUEUE: nothing unless the queue exists and RING_RESET was negotiated."""
        queue = self.queue(index)
        if queue is not None and self.negotiated(Feature.RING_RESET):
            self._end([index])
            queue.reset()

    def queue_notify(self, index: int) -> None:
        """The driver made buffers available in queue ``index``, which is enabled.

        Called while the device runs.
        """
        self.queues[index].notifications += 1
        self.wake(index)

    # Data path

    def wake(self, index: int) -> None:
        """There may be work in queue ``index``; served if the device runs and has a data path."""
        service = self._service(index)
        if service is not None:
            service.wake()

    def _look(self, index: int) -> None:
        """Serve the buffers that a queue holds when its service begins (virtio 3.1.1)."""
        service = self._service(index)
        if service is not None:
            service.look()

    def _service(self, index: int) -> QueueService | None:
        """What serves queue ``index``; None unless the device runs and has a data path."""
        state = self.queues[index]
        if self._link is None or not self.running or not state.enabled:
            return None
        if index not in self._services:

            def make_queue(dma: Dma) -> DeviceVirtqueue:
                return DeviceVirtqueue(
                    dma,
                    size=state.size,
                    descriptor_addr=state.descriptor_addr,
                    driver_addr=state.driver_addr,
                    device_addr=state.device_addr,
                    indirect=self.negotiated(Feature.INDIRECT_DESC),
                    event_index=self.negotiated(Feature.EVENT_IDX),
                )

            self._services[index] = QueueService(
                self._link, index, make_queue, self.serve, self._failed
            )
        return self._services[index]

    async def serve(self, index: int, queue: DeviceVirtqueue) -> None:
        """Do what there is to do in queue ``index``; by default, give back what :meth:`handle`
        makes of each chain."""
        while (chain := await queue.next_chain()) is not None:
            await queue.complete(chain, await self.handle(index, queue, chain))

    async def handle(self, index: int, queue: DeviceVirtqueue, chain: Chain) -> int:
        """Serve one chain; returns the bytes written to it."""
        return 0

    async def drain(self) -> None:
        """Wait until no access to memory of queues that were reset is under way."""
        while self._ended:
            service = self._ended[0]
            await service.drain()
            # Not the whole list: more may have ended meanwhile.
            self._ended = [other for other in self._ended if other is not service]

    async def _failed(self, error: Exception) -> None:
        self.fail(error)
        if self._link is not None:
            await self._link.notify_config()

    def _end(self, indices: Iterable[int]) -> None:
        for index in indices:
            service = self._services.pop(index, None)
            if service is not None:
                service.end()
                self._ended.append(service)
        self._ended = [service for service in self._ended if service.busy]
