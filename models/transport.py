# SPDX-License-Identifier: BSD-2-Clause
"""Transport of the device side: validates requests, dispatches to up to 32 devices, sends events.

Source: the patch series, ``virtio_msg_receive_msg``; the bus messages of the draft's transport
revision 1. :mod:`models.handlers` executes requests on a device. Refused messages are dropped
without a response and counted.

If the code of a device raises an exception, :meth:`Transport.contain` makes the device fail: it
requests a reset and its driver is notified. Its requests are still answered, and the bus and the
other devices continue.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager

from .devices import VirtioDevice
from .handlers import DeviceHandlers, Drop, Refused
from .messages import (
    DeviceState,
    Dialect,
    Message,
    MessageError,
    MessageKind,
    TruncatedError,
    UnknownMessageError,
    dialect_of,
)
from .observers import Observers
from .virtio import DeviceStatus

MAX_DEVICES = 32


class TransportError(ValueError):
    """The device number is out of range, taken, or unused."""


_ACCESS_ENDING = ("SET_DEVICE_STATUS", "RESET_VQUEUE")
"""Requests whose response means that the device no longer accesses a queue."""


class Transport:
    """Transport of the devices behind one FIFO.

    Parameters
    ----------
    devices
        Devices by device number, 0 to 31, with or without gaps.
    send
        Sends one message to the driver, waiting while the device queue is full.
    revision
        Wire revision, by name or as an object.

    Raises
    ------
    TransportError
        A device number is outside 0 to 31.

    Attributes
    ----------
    devices
        Devices by device number; :meth:`plug` and :meth:`unplug` change them.
    received
        Number of messages handled.
    drops
        Number of messages dropped, by reason.
    drop_observers
        Called for each dropped message with the reason, one line of text and the raw bytes.
    """

    def __init__(
        self,
        devices: Mapping[int, VirtioDevice],
        send: Callable[[bytes], Awaitable[None]],
        revision: str | Dialect = "v1",
    ) -> None:
        self.devices: dict[int, VirtioDevice] = {}
        self._freed_order: dict[int, int] = {}
        self._unplugging: set[int] = set()
        for number, device in sorted(devices.items()):
            self.add(device, number)
        self.received = 0
        self.drops: Counter[Drop] = Counter()
        self.drop_observers = Observers[[Drop, str, bytes]]("dropped messages")
        self._send = send
        self._epoch = 0
        self._dialect = dialect_of(revision)
        self._device_handlers = DeviceHandlers(self._dialect)
        self._bus_handlers: dict[str, Callable[[Message], Message]] = {
            "BUS_GET_DEVICES": self._get_devices,
            "BUS_PING": self._ping,
        }

    async def receive(self, raw: bytes) -> None:
        """Handle one message of any bytes and send the response, if there is one."""
        try:
            message = self._dialect.decode(raw)
        except MessageError as error:
            self._drop(_reason(error), str(error), raw)
            return
        try:
            response = await self._handle(message)
        except Refused as refused:
            self._drop(refused.reason, str(refused), raw)
            return
        self.received += 1
        if response is not None and await self._has_completed(message):
            await self._send(response.wire())

    async def _has_completed(self, message: Message) -> bool:
        """Wait until ``message`` has taken effect; False if its driver or device is gone."""
        if message.role not in _ACCESS_ENDING:
            return True
        # After the response the driver may reuse the memory of the queues. Every access completes,
        # so later messages wait for one access at most.
        epoch, device = self._epoch, self.devices.get(message.dev_num)
        if device is None:
            return False
        await device.drain()
        # Another driver, or the driver of another device, may be waiting for a similar response.
        return epoch == self._epoch and self.devices.get(message.dev_num) is device

    async def notify_used(self, dev_num: int, queue: int) -> None:
        """Notify the driver of used buffers with EVENT_USED, if the device runs.

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

    @contextmanager
    def contain(self, device: VirtioDevice) -> Iterator[None]:
        """Make ``device`` fail if its code raises in this context, without propagating the error.

        The caller then notifies the driver with :meth:`notify_failure`.
        """
        try:
            yield
        except Refused:
            raise
        except Exception as error:
            device.fail(error)

    async def notify_failure(self, device: VirtioDevice) -> None:
        """Notify the driver that ``device`` failed, if this transport still has the device."""
        for number, other in tuple(self.devices.items()):
            if other is device and device.failure is not None:
                await self.notify_config(number)

    async def notify_config(self, dev_num: int) -> None:
        """Notify the driver of changed configuration or status with EVENT_CONFIG without a range.

        The event is sent only after DRIVER_OK (virtio 2.1.2), and once per call: the series keeps a
        sticky flag and sends the event with every EVENT_USED after the first.

        Raises
        ------
        TransportError
            There is no such device.
        """
        device = self._device(dev_num)
        if device.status & DeviceStatus.DRIVER_OK:
            await self._send_event(
                "EVENT_CONFIG",
                dev_num,
                status=device.status,
                generation=device.generation,
                offset=0,
                size=0,
            )

    # Hot plug

    async def plug(self, device: VirtioDevice, number: int | None = None) -> int:
        """Add a device with :meth:`add` and notify the driver with :meth:`announce`."""
        number = self.add(device, number)
        await self.announce(number)
        return number

    def add(self, device: VirtioDevice, number: int | None = None) -> int:
        """Add a device without notifying the driver.

        Parameters
        ----------
        device
            The device, which can receive requests afterwards.
        number
            Device number. The default is the number that has been free longest, because a driver
            might mistake the new device for the previous one.

        Returns
        -------
        int
            Device number.

        Raises
        ------
        TransportError
            The number is out of range or taken, or no number is free.
        """
        if number is None:
            free = [n for n in range(MAX_DEVICES) if not self._taken(n)]
            if not free:
                raise TransportError(f"all {MAX_DEVICES} device numbers are taken")
            number = min(free, key=lambda n: (self._freed_order.get(n, 0), n))
        if not 0 <= number < MAX_DEVICES:
            raise TransportError(f"device number is {number}: must be 0 to {MAX_DEVICES - 1}")
        if self._taken(number):
            raise TransportError(f"device number is {number}: it is taken")
        self.devices[number] = device
        return number

    def _taken(self, number: int) -> bool:
        return number in self.devices or number in self._unplugging

    async def announce(self, dev_num: int) -> None:
        """Notify the driver that device ``dev_num`` was added, if the revision has that event.

        Raises
        ------
        TransportError
            There is no such device.
        """
        self._device(dev_num)
        await self._device_event(dev_num, DeviceState.ADDED)

    async def unplug(self, dev_num: int) -> VirtioDevice:
        """Remove a device, then notify the driver, if the revision has that event.

        Requests to the device are dropped from now on. Its queues are reset, and accesses in flight
        to them are awaited. The number stays taken until the driver is notified; otherwise the
        driver could mistake the next device of this number for the removed one.

        Returns
        -------
        VirtioDevice
            The removed device.

        Raises
        ------
        TransportError
            There is no such device.
        """
        device = self._device(dev_num)
        del self.devices[dev_num]
        self._freed_order[dev_num] = 1 + max(self._freed_order.values(), default=0)
        self._unplugging.add(dev_num)
        self._reset(device)
        try:
            await device.drain()
        finally:
            self._unplugging.discard(dev_num)
        await self._device_event(dev_num, DeviceState.REMOVED)
        return device

    async def _device_event(self, dev_num: int, state: DeviceState) -> None:
        if self._dialect.has("BUS_EVENT_DEVICE", MessageKind.EVENT):
            await self._send_event(
                "BUS_EVENT_DEVICE", 0, device_number=dev_num, device_bus_state=state
            )

    def reset(self) -> None:
        """Reset every device and drop responses to earlier requests: the function was reset."""
        self._epoch += 1
        for device in self.devices.values():
            self._reset(device)

    def _reset(self, device: VirtioDevice) -> None:
        with self.contain(device):
            # First, so that the common state is reset even if the device's own code raises.
            device.clear()
            device.reset()

    def _device(self, dev_num: int) -> VirtioDevice:
        if dev_num not in self.devices:
            raise TransportError(f"device number is {dev_num}: there is no such device")
        return self.devices[dev_num]

    async def _send_event(self, name: str, dev_num: int, **fields: int) -> None:
        message = self._dialect.message(name, MessageKind.EVENT, dev_num=dev_num, **fields)
        await self._send(message.wire())

    def _drop(self, reason: Drop, text: str, raw: bytes) -> None:
        self.drops[reason] += 1
        self.drop_observers.notify(reason, text, bytes(raw))

    async def _handle(self, message: Message) -> Message | None:
        # Answering a response with a response would never end between two such sides. Some drivers
        # return the response to a BUS_PING like that.
        if message.kind is MessageKind.RESPONSE:
            raise Refused(Drop.NOT_FOR_DEVICE, f"{message.layout}: responses end at the driver")
        handler = self._bus_handlers.get(message.role)
        if handler is not None:
            return handler(message)
        if not self._device_handlers.serves(message):
            raise Refused(Drop.NOT_FOR_DEVICE, f"{message.layout}: only a device sends it")
        device = self.devices.get(message.dev_num)
        if device is None:
            text = f"{message.layout}: dev_num is {message.dev_num}: no device has this number"
            raise Refused(Drop.NO_DEVICE, text)
        failure = device.failure
        with self.contain(device):
            return self._device_handlers.handle(message, device)
        if device.failure is not failure:
            await self.notify_failure(device)
        return self._device_handlers.refusal(message, device)

    # Bus messages

    def _get_devices(self, request: Message) -> Message:
        # A window of the 32 device numbers: bit k is number offset + k. Linux requests (0, 32) and
        # accepts only a response for all 32.
        offset, requested = request.number("offset"), request.number("num")
        array = self._dialect.layout(request.role, MessageKind.RESPONSE).array("bitmap")
        capacity = array.capacity(self._dialect.max_size)
        num = max(0, min(requested, MAX_DEVICES - offset, capacity))
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


def _reason(error: MessageError) -> Drop:
    if isinstance(error, TruncatedError):
        return Drop.TRUNCATED
    if isinstance(error, UnknownMessageError):
        return Drop.UNKNOWN
    return Drop.MALFORMED
