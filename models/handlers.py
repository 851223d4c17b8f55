# SPDX-License-Identifier: BSD-2-Clause
"""Handlers of the messages from a driver to a device.

Source: the patch series, ``virtio_msg_bad`` and the handlers after ``virtio_msg_receive_msg``, for
the messages accepted and their responses; the draft's transport revision 1. Where the series
crashes, leaks or leaves the driver waiting, the handlers follow the later revisions of the series
and the draft, with a comment at each such place.

A handler does not test the revision: it tests which fields its message has.
:meth:`DeviceHandlers.refusal` builds the response when the device itself fails at a request.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from .devices import VirtioDevice
from .limits import span
from .messages import (
    OPERATION_MASK,
    QUEUE_ENABLED,
    QUEUE_FLAGS,
    Dialect,
    FieldValue,
    Message,
    MessageKind,
    QueueFlag,
    QueueOperation,
    TransportFeature,
)

NIL_UUID = bytes(16)
"""UUID that a device without one reports."""


class Drop(StrEnum):
    """Reason for which a message is dropped."""

    TRUNCATED = "truncated"
    UNKNOWN = "unknown message"
    MALFORMED = "malformed"
    NOT_FOR_DEVICE = "not for a device"
    BAD_COUNT = "bad count"
    NO_DEVICE = "no such device"
    NO_QUEUE = "no such queue"
    NOT_RUNNING = "device not running"


class Refused(Exception):
    """A well-formed message is dropped without a response.

    Attributes
    ----------
    reason
        Reason under which the drop is counted.
    """

    def __init__(self, reason: Drop, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class DeviceHandlers:
    """Handlers of the messages to a device.

    Parameters
    ----------
    dialect
        Revision and parameters of the bus.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._handlers: dict[str, Callable[[Message, VirtioDevice], Message | None]] = {
            "DEVICE_INFO": self._device_info,
            "GET_FEATURES": self._get_features,
            "SET_FEATURES": self._set_features,
            "GET_CONFIG": self._get_config,
            "SET_CONFIG": self._set_config,
            "GET_DEVICE_STATUS": self._get_status,
            "SET_DEVICE_STATUS": self._set_status,
            "GET_VQUEUE": self._get_vqueue,
            "SET_VQUEUE": self._set_vqueue,
            "RESET_VQUEUE": self._reset_vqueue,
            "GET_SHM": self._get_shm,
            "EVENT_AVAIL": self._event_avail,
        }

    def serves(self, message: Message) -> bool:
        """Whether there is a handler for ``message``."""
        return message.role in self._handlers

    def handle(self, message: Message, device: VirtioDevice) -> Message | None:
        """Execute ``message`` on ``device`` and return the response, if there is one.

        Raises
        ------
        Refused
            The message is dropped without a change to the device.
        """
        return self._handlers[message.role](message, device)

    def refusal(self, request: Message, device: VirtioDevice) -> Message | None:
        """Response to a request at which the code of ``device`` failed; None for an event.

        The response echoes the indices, offsets and counts of the request and reports the device
        status and generation where it has fields for them; data and all other fields are empty or
        zero. Without a response the driver would wait for its timeout.
        """
        if request.kind is not MessageKind.REQUEST:
            return None
        layout = self._dialect.layout(request.role, MessageKind.RESPONSE)
        values: dict[str, FieldValue] = {field.name: 0 for field in layout.fields}
        echoed = ("index", "num", "offset", "shmid")
        values |= {
            layout.local_name(name): request.number(name)
            for name in echoed
            if layout.has(name) and request.layout.has(name)
        }
        if layout.has("status"):
            values[layout.local_name("status")] = VirtioDevice.status.__get__(device)
        if layout.has("generation"):
            values["generation"] = device.generation
        for array in layout.arrays:
            if isinstance(array.count, int):
                values[array.name] = bytes(array.count)
            elif array.element_bits == 32:
                values[array.name] = (0,) * request.number("num")
            else:
                values[array.name] = b""
                values.pop(layout.local_name("size"), None)
        return request.respond(**values)

    def _device_info(self, request: Message, device: VirtioDevice) -> Message:
        values: dict[str, FieldValue] = {
            "device_id": device.device_id,
            "vendor_id": device.vendor_id,
            "device_uuid": device.uuid.bytes if device.uuid else NIL_UUID,
            "num_feature_bits": device.num_feature_bits,
            "num_feature_blocks": device.num_feature_bits // 32,
            "config_size": device.config_size,
            "max_vqs": len(device.queues),
            "admin_vq_idx": 0,
            "admin_vq_count": 0,
        }
        return self._respond(request, values)

    def _get_features(self, request: Message, device: VirtioDevice) -> Message:
        index, num = self._feature_blocks(request, MessageKind.RESPONSE)
        words = [device.offered_word(index + k) for k in range(num)]
        return request.respond(index=index, num=num, features=words)

    def _set_features(self, request: Message, device: VirtioDevice) -> Message:
        index, _ = self._feature_blocks(request, MessageKind.REQUEST)
        for k, word in enumerate(request.features):
            device.select_word(index + k, word)
        return request.respond()

    def _feature_blocks(self, request: Message, kind: MessageKind) -> tuple[int, int]:
        num = request.number("num")
        limit = self._dialect.capacity(request.role, kind, "features")
        if not 1 <= num <= limit:
            text = f"{request.layout}: num is {num}: must be {span(1, limit)}"
            raise Refused(Drop.BAD_COUNT, text)
        return request.number("index"), num

    def _get_config(self, request: Message, device: VirtioDevice) -> Message:
        # A read that fails returns no bytes: without a response Linux waits 100 s. Linux reads 0
        # bytes to get the generation.
        offset, size = request.number("offset"), request.number("size")
        capacity = self._dialect.capacity(request.role, MessageKind.RESPONSE, "data")
        data = device.read_config(offset, size) if size <= capacity else None
        return request.respond(generation=device.generation, offset=offset, data=data or b"")

    def _set_config(self, request: Message, device: VirtioDevice) -> Message:
        # Writes all bytes or none; the response has the stored value. The generation is checked
        # only with STRICT_CONFIG_GENERATION: Linux does not expect a refusal for it.
        offset, data = request.number("offset"), bytes(request.data)
        strict = TransportFeature.STRICT_CONFIG_GENERATION in self._dialect.features
        wrong_generation = strict and request.number("generation") != device.generation
        stored = None
        if not wrong_generation and device.write_config(offset, data):
            stored = device.read_config(offset, len(data))
        return request.respond(generation=device.generation, offset=offset, data=stored or b"")

    def _get_status(self, request: Message, device: VirtioDevice) -> Message:
        return request.respond(status=device.status)

    def _set_status(self, request: Message, device: VirtioDevice) -> Message:
        status = request.number("status")
        if status == 0:
            # First, so that the common state is reset even if the device's own code raises.
            device.clear()
        device.write_status(status)
        return request.respond(status=device.status)

    def _get_vqueue(self, request: Message, device: VirtioDevice) -> Message:
        # A queue that does not exist reads as zeros, so that a driver can probe for it.
        index = request.number("index")
        queue = device.queue(index)
        values: dict[str, FieldValue] = {
            "index": index,
            "max_size": queue.max_size if queue else 0,
            "size": queue.size if queue else 0,
            "flags": QUEUE_ENABLED if queue and queue.enabled else 0,
            "descriptor_addr": queue.descriptor_addr if queue else 0,
            "driver_addr": queue.driver_addr if queue else 0,
            "device_addr": queue.device_addr if queue else 0,
        }
        return self._respond(request, values)

    def _set_vqueue(self, request: Message, device: VirtioDevice) -> Message:
        # Applied completely or not at all, and answered in both cases; GET_VQUEUE shows the
        # result. A revision without flags sets all fields and enables the queue. Its handler
        # ignores the word that the series calls unused, which newer drivers use for flags.
        has_flags = request.layout.has("flags")
        flags = request.number("flags") if has_flags else QueueOperation.ENABLE
        operation = flags & OPERATION_MASK
        valid = not flags & ~QUEUE_FLAGS and operation in list(QueueOperation)
        if valid and not request.number("reserved"):

            def value_of(name: str, keep: QueueFlag) -> int | None:
                return None if flags & keep else request.number(name)

            device.configure_queue(
                request.number("index"),
                QueueOperation(operation),
                size=value_of("size", QueueFlag.KEEP_SIZE),
                descriptor_addr=value_of("descriptor_addr", QueueFlag.KEEP_DESCRIPTOR),
                driver_addr=value_of("driver_addr", QueueFlag.KEEP_DRIVER),
                device_addr=value_of("device_addr", QueueFlag.KEEP_DEVICE),
            )
        return request.respond()

    def _reset_vqueue(self, request: Message, device: VirtioDevice) -> Message:
        device.reset_queue(request.number("index"))
        return request.respond()

    def _get_shm(self, request: Message, device: VirtioDevice) -> Message:
        # A region that does not exist, or does not fit in the fields of the revision, has length 0.
        shmid = request.number("shmid")
        layout = self._dialect.layout(request.role, MessageKind.RESPONSE)
        region = device.shared_memory.get(shmid)
        values = {"length": region.length, "address": region.address} if region else {}
        if any(value >> layout.field(name).bits for name, value in values.items()):
            values = {}
        return request.respond(shmid=shmid, **(values or {"length": 0, "address": 0}))

    def _event_avail(self, message: Message, device: VirtioDevice) -> None:
        # All 32 bits of the index count. The series marks a device broken after a stray
        # notification; here it is only dropped.
        index = message.number("index")
        queue = device.queue(index)
        if not device.running:
            text = f"{message.layout}: status is {device.status:#04x}: must have DRIVER_OK"
            raise Refused(Drop.NOT_RUNNING, text)
        if queue is None or not queue.enabled:
            text = f"{message.layout}: index is {index}: must be a queue that is set up"
            raise Refused(Drop.NO_QUEUE, text)
        device.queue_notify(index)

    def _respond(self, request: Message, values: dict[str, FieldValue]) -> Message:
        """Build the response from those ``values`` that its layout has fields for."""
        layout = self._dialect.layout(request.role, MessageKind.RESPONSE)
        return request.respond(**{name: values[name] for name in values if layout.has(name)})
