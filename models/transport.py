# SPDX-License-Identifier: BSD-2-Clause
"""The device side's transport: validates requests, drives up to 32 devices, sends events.

Source: the patch series, ``virtio_msg_receive_msg``, ``virtio_msg_bad`` and the handlers after
them, for what is accepted and answered. Where the series crashes, leaks or leaves the driver
waiting, the transport does what the later revisions of the series and the 2026 draft settled on;
each such place says so. Everything that is refused is dropped without an answer and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum

from .devices import VirtioDevice
from .messages import (
    Dialect,
    Kind,
    Message,
    MessageError,
    TruncatedError,
    UnknownMessageError,
    dialect_of,
)
from .virtio import FEATURE_BITS, Status

MAX_DEVICES = 32


class TransportError(ValueError):
    """A transport that cannot be built, or an event for a device that does not exist."""


class Drop(StrEnum):
    """Why a message was dropped."""

    TRUNCATED = "truncated"
    UNKNOWN = "unknown message"
    MALFORMED = "malformed"
    NOT_FOR_DEVICE = "not for a device"
    BAD_COUNT = "bad count"
    NO_DEVICE = "no such device"
    NO_QUEUE = "no such queue"
    NOT_RUNNING = "device not running"


DropObserver = Callable[[Drop, str, bytes], None]
"""Called with the reason, one line of text and the raw bytes."""


_ENDS_ACCESS = ("SET_DEVICE_STATUS", "RESET_VQUEUE")
"""Requests after whose answer a device may use a queue no more."""


class _Refused(Exception):
    """A well-formed message that gets no answer."""

    def __init__(self, reason: Drop, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Transport:
    """The devices behind one FIFO.

    Parameters
    ----------
    devices
        By device number, 0 to 31; gaps are fine.
    send
        Takes one message to the driver; waits while there is no room for it.
    revision
        The wire revision, by name or as an object.

    Raises
    ------
    TransportError
        A device number is outside 0 to 31.

    Attributes
    ----------
    devices
        As given.
    received
        Messages handled.
    drops
        Messages dropped, by reason.
    drop_observers
        Called for each message dropped.
    """

    def __init__(
        self,
        devices: Mapping[int, VirtioDevice],
        send: Callable[[bytes], Awaitable[None]],
        revision: str | Dialect = "v1",
    ) -> None:
        for number in devices:
            if not 0 <= number < MAX_DEVICES:
                raise TransportError(f"device number is {number}: must be 0 to {MAX_DEVICES - 1}")
        self.devices = dict(sorted(devices.items()))
        self.received = 0
        self.drops: Counter[Drop] = Counter()
        self.drop_observers: list[DropObserver] = []
        self._send = send
        self._lives = 0
        self._dialect = dialect_of(revision)
        self._device_handlers: dict[str, Callable[[Message, VirtioDevice], Message | None]] = {
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
            "EVENT_AVAIL": self._event_avail,
        }
        self._bus_handlers: dict[str, Callable[[Message], Message]] = {
            "BUS_GET_DEVICES": self._get_devices,
            "BUS_PING": self._ping,
        }

    async def receive(self, raw: bytes) -> None:
        """Handle one message, whatever its bytes are, and send the answer if it has one."""
        try:
            response = self._handle(self._dialect.decode(raw))
        except MessageError as error:
            self._drop(_reason(error), str(error), raw)
            return
        except _Refused as refused:
            self._drop(refused.reason, str(refused), raw)
            return
        self.received += 1
        if response is not None:
            if response.name in _ENDS_ACCESS:
                # The driver takes the answer for leave to use the queues' memory again. An access
                # always comes back, so the messages behind wait for one at most.
                life = self._lives
                await self.devices[response.dev_num].still()
                if life != self._lives:
                    # Who asked is gone, and another driver may wait for an answer like this one.
                    return
            await self._send(response.wire())

    async def notify_used(self, dev_num: int, queue: int) -> None:
        """Tell the driver of used buffers: EVENT_USED, if the device runs.

        Raises
        ------
        TransportError
            There is no such device or queue.
        """
        device = self._device(dev_num)
        if device.queue(queue) is None:
            raise TransportError(f"queue is {queue}: device {dev_num} has {len(device.queues)}")
        if device.running:
            await self._send_event("EVENT_USED", dev_num, index=queue)

    async def notify_config(self, dev_num: int) -> None:
        """Tell the driver of a change of configuration or status: EVENT_CONFIG without a range.

        Only a driver that set DRIVER_OK is told (virtio 2.1.2). The cause is this call and no
        sticky flag: the series sends one with every EVENT_USED after the first.

        Raises
        ------
        TransportError
            There is no such device.
        """
        device = self._device(dev_num)
        if device.status & Status.DRIVER_OK:
            await self._send_event(
                "EVENT_CONFIG",
                dev_num,
                status=device.status,
                generation=device.generation,
                offset=0,
                size=0,
            )

    def reset(self) -> None:
        """The host reset the function: reset every device, and answer nobody of before."""
        self._lives += 1
        for device in self.devices.values():
            device.reset()

    def _device(self, dev_num: int) -> VirtioDevice:
        if dev_num not in self.devices:
            raise TransportError(f"device number is {dev_num}: there is no such device")
        return self.devices[dev_num]

    async def _send_event(self, name: str, dev_num: int, **fields: int) -> None:
        message = self._dialect.message(name, Kind.EVENT, dev_num=dev_num, **fields)
        await self._send(message.wire())

    def _drop(self, reason: Drop, text: str, raw: bytes) -> None:
        self.drops[reason] += 1
        for observer in self.drop_observers:
            observer(reason, text, bytes(raw))

    def _handle(self, message: Message) -> Message | None:
        # A response answered with a response would run for ever between two such ends; an
        # answered BUS_PING comes back like that from some drivers.
        if message.kind is Kind.RESPONSE:
            raise _Refused(Drop.NOT_FOR_DEVICE, f"{message.layout}: responses end at the driver")
        if message.bus:
            return self._bus_handlers[message.name](message)
        handler = self._device_handlers.get(message.name)
        if handler is None:
            raise _Refused(Drop.NOT_FOR_DEVICE, f"{message.layout}: only a device sends it")
        device = self.devices.get(message.dev_num)
        if device is None:
            text = f"{message.layout}: dev_num is {message.dev_num}: no device has this number"
            raise _Refused(Drop.NO_DEVICE, text)
        return handler(message, device)

    # Bus messages

    def _get_devices(self, request: Message) -> Message:
        # A window of the 32 slots: bit k is slot offset + k. Linux asks for (0, 32) and takes no
        # other answer than all 32 of them.
        offset, asked = request.number("offset"), request.number("num")
        array = self._dialect.layout(request.name, Kind.RESPONSE).array("bitmap")
        room = array.capacity(self._dialect.max_size)
        num = max(0, min(asked, MAX_DEVICES - offset, room))
        bits = sum(1 << n - offset for n in self.devices if offset <= n < offset + num)
        end = offset + num
        return request.respond(
            offset=offset,
            num=num,
            next_offset=end if num and end < MAX_DEVICES else 0,
            bitmap=bits.to_bytes(array.length(num), "little"),
        )

    def _ping(self, request: Message) -> Message:
        return request.respond(data=request.number("data"))

    # Device messages

    def _device_info(self, request: Message, device: VirtioDevice) -> Message:
        return request.respond(
            device_id=device.device_id,
            vendor_id=device.vendor_id,
            num_feature_bits=FEATURE_BITS,
            config_size=device.config_size,
            max_vqs=len(device.queues),
            admin_vq_idx=0,
            admin_vq_count=0,
        )

    def _get_features(self, request: Message, device: VirtioDevice) -> Message:
        index, num = self._feature_blocks(request, Kind.RESPONSE)
        words = [device.offered_word(index + k) for k in range(num)]
        return request.respond(index=index, num=num, features=words)

    def _set_features(self, request: Message, device: VirtioDevice) -> Message:
        index, _ = self._feature_blocks(request, Kind.REQUEST)
        for k, word in enumerate(request.features):
            device.select_word(index + k, word)
        return request.respond()

    def _feature_blocks(self, request: Message, carrier: Kind) -> tuple[int, int]:
        num = request.number("num")
        most = self._dialect.room(request.name, carrier, "features")
        if not 1 <= num <= most:
            text = f"{request.layout}: num is {num}: must be 1 to {most}"
            raise _Refused(Drop.BAD_COUNT, text)
        return request.number("index"), num

    def _get_config(self, request: Message, device: VirtioDevice) -> Message:
        # What cannot be read is answered with no bytes: Linux would wait 100 s for silence. A
        # size of 0 is how it asks for the generation.
        offset, size = request.number("offset"), request.number("size")
        room = self._dialect.room(request.name, Kind.RESPONSE, "data")
        data = device.read_config(offset, size) if size <= room else None
        return request.respond(generation=device.generation, offset=offset, data=data or b"")

    def _set_config(self, request: Message, device: VirtioDevice) -> Message:
        # All bytes or none; the answer has what is stored now. The request's generation is not
        # looked at: Linux does not expect a write to be refused for it.
        offset, data = request.number("offset"), bytes(request.data)
        stored = device.read_config(offset, len(data)) if device.write_config(offset, data) else b""
        return request.respond(generation=device.generation, offset=offset, data=stored or b"")

    def _get_status(self, request: Message, device: VirtioDevice) -> Message:
        return request.respond(status=device.status)

    def _set_status(self, request: Message, device: VirtioDevice) -> Message:
        device.write_status(request.number("status"))
        return request.respond(status=device.status)

    def _get_vqueue(self, request: Message, device: VirtioDevice) -> Message:
        # A queue that does not exist reads as zeros, so that a driver can probe for it.
        index = request.number("index")
        queue = device.queue(index)
        return request.respond(
            index=index,
            max_size=queue.max_size if queue else 0,
            size=queue.size if queue else 0,
            descriptor_addr=queue.descriptor_addr if queue else 0,
            driver_addr=queue.driver_addr if queue else 0,
            device_addr=queue.device_addr if queue else 0,
        )

    def _set_vqueue(self, request: Message, device: VirtioDevice) -> Message:
        # Applied as a whole or not at all, and answered either way; GET_VQUEUE tells which. The
        # word that the series calls unused is flags to newer drivers, so it is not looked at.
        queue = device.queue(request.number("index"))
        if queue is not None and not request.number("reserved"):
            queue.configure(
                size=request.number("size"),
                descriptor_addr=request.number("descriptor_addr"),
                driver_addr=request.number("driver_addr"),
                device_addr=request.number("device_addr"),
            )
        return request.respond()

    def _reset_vqueue(self, request: Message, device: VirtioDevice) -> Message:
        device.reset_queue(request.number("index"))
        return request.respond()

    def _event_avail(self, message: Message, device: VirtioDevice) -> None:
        # The whole 32-bit index counts. The series marks a device broken for a stray
        # notification; it is only dropped here.
        index = message.number("index")
        queue = device.queue(index)
        if not device.running:
            text = f"{message.layout}: status is {device.status:#04x}: must have DRIVER_OK"
            raise _Refused(Drop.NOT_RUNNING, text)
        if queue is None or not queue.enabled:
            text = f"{message.layout}: index is {index}: must be a queue that is set up"
            raise _Refused(Drop.NO_QUEUE, text)
        device.queue_notify(index)


def _reason(error: MessageError) -> Drop:
    if isinstance(error, TruncatedError):
        return Drop.TRUNCATED
    if isinstance(error, UnknownMessageError):
        return Drop.UNKNOWN
    return Drop.MALFORMED
