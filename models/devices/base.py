# SPDX-License-Identifier: BSD-2-Clause
"""Virtio device: status, features, configuration space and queues, without a transport.

Sources: virtio 1.4 sections 2.1 (status), 2.2 (features), 2.5 (configuration space); the patch
series, ``virtio-msg.c``, for the requirements of the transport.
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
"""PCI vendor ID of virtio: these devices are not products of a vendor."""
FEATURE_WORDS = FEATURE_BITS // 32
MAX_REFUSED_BLOCKS = 1024
"""Nonzero feature blocks beyond those of the device that are tracked individually.

A driver can clear a tracked block again. With more such blocks, only a reset makes the selection
acceptable."""
PIECE = 64 << 10
"""Bytes of a chain that a device buffers at once, as a chain may have 4 GiB. A multiple of all
sector sizes."""
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
    """Shared memory region of a device (virtio 2.10): bus address and length in bytes."""

    address: int
    length: int


class VirtioDevice:
    """Virtio device. Subclasses set ``device_id`` and the features they offer.

    Parameters
    ----------
    features
        Mask of the features to offer besides :data:`~models.virtio.BASE_FEATURES`.
    config
        Initial contents of configuration space.
    writable
        Byte offsets of configuration space that the driver may write.
    queue_sizes
        Maximum size of each queue; powers of two.

    Raises
    ------
    ValueError
        A queue size is not a power of two from 1 to 32768; a feature is above bit 127 or not
        implemented.

    Attributes
    ----------
    device_id, vendor_id
        Device type and vendor, 32 bits each.
    offered
        Mask of the features offered.
    selected
        Mask that the driver wrote; fixed once ``FEATURES_OK`` is set.
    queues
        State of each queue, by index.
    generation
        Number of changes of configuration space, 32 bits, wrapping.
    uuid
        Identifies this device among others of its type; None if it has no UUID. Usually version 4.
    shared_memory
        Shared memory regions, by ID.
    failure
        First error since the last reset that made the device request a reset, or None.

    Notes
    -----
    An exception in any method that a subclass overrides ends in :meth:`fail`:
    :mod:`models.transport` catches it for requests, :class:`QueueService` for queues.
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
        """Connect the data path: the queues move data from now on."""
        self._link = link
        self.offered |= RING_FEATURES

    # Status

    @property
    def status(self) -> int:
        """Status byte."""
        return int(self._status)

    @property
    def running(self) -> bool:
        """Queues may be processed: DRIVER_OK is set and NEEDS_RESET is not."""
        return (
            bool(self._status & DeviceStatus.DRIVER_OK)
            and not self._status & DeviceStatus.NEEDS_RESET
        )

    def write_status(self, value: int) -> None:
        """Handle a driver write of ``value``, which may be any number; 0 resets the device.

        A bit stays set until reset. The driver cannot set NEEDS_RESET and undefined bits.
        FEATURES_OK is refused for an unacceptable selection, and DRIVER_OK without FEATURES_OK. The
        driver reads the status back to check.
        """
        if value == 0:
            self.reset()
            return
        requested = DeviceStatus(value & _DRIVER_BITS) & ~self._status
        if requested & DeviceStatus.FEATURES_OK and not self.features_acceptable():
            requested &= ~DeviceStatus.FEATURES_OK
        if not (self._status | requested) & DeviceStatus.FEATURES_OK:
            requested &= ~DeviceStatus.DRIVER_OK
        self._status |= requested
        if requested & DeviceStatus.DRIVER_OK:
            for index in range(len(self.queues)):
                self._check_available(index)

    def needs_reset(self) -> None:
        """Set NEEDS_RESET: the device cannot continue (virtio 2.1.2)."""
        self._status |= DeviceStatus.NEEDS_RESET

    def fail(self, error: Exception) -> None:
        """Stop all queues and request a reset because of ``error`` (virtio 2.1.2).

        The first error since the last reset is kept in :attr:`failure` and logged, with a traceback
        unless a driver or its host caused it. The caller notifies the driver.
        """
        self._end_services(range(len(self.queues)))
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
        """Reset the device. Configuration space keeps its contents.

        No access to queue memory starts afterwards; :meth:`drain` waits for those in flight.
        """
        self.clear()

    def clear(self) -> None:
        """Reset the state common to all devices. Subclasses must not override it."""
        self._end_services(range(len(self.queues)))
        self.failure = None
        self._status = DeviceStatus(0)
        self.selected = 0
        self._refused_blocks.clear()
        for queue in self.queues:
            queue.reset()

    # Features

    @property
    def num_feature_bits(self) -> int:
        """Number of feature bits announced: whole blocks of 32 with all offered features."""
        return max(MIN_FEATURE_BITS, -(-self.offered.bit_length() // 32) * 32)

    def offered_word(self, index: int) -> int:
        """Block ``index`` of the offered features, 32 bits; 0 beyond the last block."""
        return self.offered >> 32 * index & 0xFFFF_FFFF if index < FEATURE_WORDS else 0

    def select_word(self, index: int, word: int) -> None:
        """Select features in block ``index``. Ignored once FEATURES_OK is set."""
        if self._status & DeviceStatus.FEATURES_OK:
            return
        if index < FEATURE_WORDS:
            self.selected &= ~(0xFFFF_FFFF << 32 * index)
            self.selected |= word << 32 * index
        elif not word:
            self._refused_blocks.discard(index)
        else:
            # -1 stands for all blocks that are not tracked individually.
            untracked = len(self._refused_blocks) >= MAX_REFUSED_BLOCKS
            self._refused_blocks.add(-1 if untracked else index)

    def features_acceptable(self) -> bool:
        """Whether all selected features are offered, and VERSION_1 is selected."""
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
        """Size of configuration space in bytes."""
        return len(self._config)

    def read_config(self, offset: int, size: int) -> bytes | None:
        """Read ``size`` bytes at ``offset``, or return None if any byte is outside."""
        if offset + size > len(self._config):
            return None
        return bytes(self._config[offset : offset + size])

    def write_config(self, offset: int, data: bytes) -> bool:
        """Handle a driver write, completely or not at all.

        The write is refused if any byte is outside or not writable.

        Returns
        -------
        bool
            The data was written.
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
        """Change configuration space. ``Transport.notify_config`` notifies the driver.

        Raises
        ------
        ValueError
            The bytes are outside configuration space.
        """
        end = offset + len(data)
        if not 0 <= offset <= end <= self.config_size:
            raise ValueError(f"config bytes {offset} to {end}: must lie in 0 to {self.config_size}")
        self._config[offset:end] = data
        self.config_changed()

    def config_changed(self) -> None:
        """Advance the generation, so that a driver that reads in pieces detects the change."""
        self.generation = self.generation + 1 & 0xFFFF_FFFF

    # Queues

    def queue(self, index: int) -> QueueState | None:
        """State of queue ``index``, which may be any number; None if there is no such queue."""
        return self.queues[index] if 0 <= index < len(self.queues) else None

    def configure_queue(self, index: int, operation: QueueOperation, **values: int | None) -> bool:
        """Handle SET_VQUEUE with :meth:`QueueState.update`; False if there is no such queue."""
        queue = self.queue(index)
        if queue is None or not queue.update(operation, **values):
            return False
        self._check_available(index)
        return True

    def reset_queue(self, index: int) -> None:
        """Handle RESET_VQUEUE. No effect unless the queue exists and RING_RESET was negotiated."""
        queue = self.queue(index)
        if queue is not None and self.negotiated(Feature.RING_RESET):
            self._end_services([index])
            queue.reset()

    def queue_notify(self, index: int) -> None:
        """Handle an available-buffer notification of queue ``index``.

        Called only while the device runs and the queue is enabled.
        """
        self.queues[index].notifications += 1
        self.wake(index)

    # Data path

    def wake(self, index: int) -> None:
        """Serve queue ``index`` if the device runs and has a data path: it may have work."""
        service = self._service(index)
        if service is not None:
            service.wake()

    def _check_available(self, index: int) -> None:
        """Serve buffers that were made available before the service started (virtio 3.1.1)."""
        service = self._service(index)
        if service is not None:
            service.check_available()

    def _service(self, index: int) -> QueueService | None:
        """Service of queue ``index``; None unless the device runs and has a data path."""
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
                self._link, index, make_queue, self.serve, self._service_failed
            )
        return self._services[index]

    async def serve(self, index: int, queue: DeviceVirtqueue) -> None:
        """Serve all available chains of queue ``index``, by default with :meth:`handle`."""
        while (chain := await queue.next_chain()) is not None:
            await queue.complete(chain, await self.handle(index, queue, chain))

    async def handle(self, index: int, queue: DeviceVirtqueue, chain: Chain) -> int:
        """Serve one chain and return the number of bytes written to it."""
        return 0

    async def drain(self) -> None:
        """Wait until no access to the memory of reset queues is in flight."""
        while self._ended:
            service = self._ended[0]
            await service.drain()
            # Remove only this one: other services may have ended during the wait.
            self._ended = [other for other in self._ended if other is not service]

    async def _service_failed(self, error: Exception) -> None:
        self.fail(error)
        if self._link is not None:
            await self._link.notify_config()

    def _end_services(self, indices: Iterable[int]) -> None:
        for index in indices:
            service = self._services.pop(index, None)
            if service is not None:
                service.end()
                self._ended.append(service)
        self._ended = [service for service in self._ended if service.busy]
