# SPDX-License-Identifier: BSD-2-Clause
"""The device side's transport: validates requests, drives up to 32 devices, sends events.

Source: the patch series, ``virtio_msg_receive_msg``; the bus messages of the draft's transport
revision 1. What a request does to its device is in :mod:`models.handlers`. Everything that is
refused is dropped without an answer and counted.

A device whose own code raises fails: :meth:`Transport.contain` is the one place that says how. It
asks for a reset and is told so to its driver; its requests are answered, and the devices beside it
and the bus go on.
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
    """A device number that is out of range, taken, or nobody's."""


_ENDS_ACCESS = ("SET_DEVICE_STATUS", "RESET_VQUEUE")
"""Requests after whose answer a device may use a queue no more."""


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
        By device number; :meth:`plug` and :meth:`unplug` change them.
    received
        Messages handled.
    drops
        Messages dropped, by reason.
    drop_observers
        Called for each message dropped with the reason, one line of text and the raw bytes.
    """

    def __init__(
        self,
        devices: Mapping[int, VirtioDevice],
        send: Callable[[bytes], Awaitable[None]],
        revision: str | Dialect = "v1",
    ) -> None:
        self.devices: dict[int, VirtioDevice] = {}
        self._freed: dict[int, int] = {}
        self._leaving: set[int] = set()
        for number, device in sorted(devices.items()):
            self.add(device, number)
        self.received = 0
        self.drops: Counter[Drop] = Counter()
        self.drop_observers = Observers[[Drop, str, bytes]]("dropped messages")
        self._send = send
        self._epoch = 0
        self._dialect = dialect_of(revision)
        self._requests = DeviceHandlers(self._dialect)
        self._bus_handlers: dict[str, Callable[[Message], Message]] = {
            "BUS_GET_DEVICES": self._get_devices,
            "BUS_PING": self._ping,
        }

    async def receive(self, raw: bytes) -> None:
        """Handle one message, whatever its bytes are, and send the answer if it has one."""
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
        if response is not None and await self._may_answer(message):
            await self._send(response.wire())

    async def _may_answer(self, message: Message) -> bool:
        """Wait until what ``message`` asked for is done; False when who asked is gone meanwhile."""
        if message.role not in _ENDS_ACCESS:
            return True
        # The driver takes the answer for leave to use the queues' memory again. An access always
        # comes back, so the messages behind wait for one at most.
        epoch, device = self._epoch, self.devices.get(message.dev_num)
        if device is None:
            return False
        await device.drain()
        # Another driver, or the driver of another device, may wait for an answer like this one.
        return epoch == self._epoch and self.devices.get(message.dev_num) is device

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

    @contextmanager
    def contain(self, device: VirtioDevice) -> Iterator[None]:
        """Run code of ``device``: what it raises makes the device fail and goes no further.

        :meth:`notify_failure` then tells the driver.
        """
        try:
            yield
        except Refused:
            raise
        except Exception as error:
            device.fail(error)

    async def notify_failure(self, device: VirtioDevice) -> None:
        """Tell the driver that ``device`` failed, if it is one of this transport's devices."""
        for number, other in tuple(self.devices.items()):
            if other is device and device.failure is not None:
                await self.notify_config(number)

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
        if device.status & DeviceStatus.DRIVER_OK:
            await self._send_event(
                "EVENT_CONFIG",
                dev_num,
                status=device.status,
                generation=device.generation,
                offset=0,
                size=0,
            )

    # Devices that come and go

    async def plug(self, device: VirtioDevice, number: int | None = None) -> int:
        """Add a device, ready for requests, and tell the driver: :meth:`add`, :meth:`announce`."""
        number = self.add(device, number)
        await self.announce(number)
        return number

    def add(self, device: VirtioDevice, number: int | None = None) -> int:
        """Add a device and tell nobody.

        Parameters
        ----------
        device
            The device.
        number
            Its number. By default the free one that has been free longest: a driver might take the
            new device for the one before.

        Returns
        -------
        int
            The number.

        Raises
        ------
        TransportError
            The number is out of range or taken, or none is free.
        """
        if number is None:
            free = [n for n in range(MAX_DEVICES) if not self._taken(n)]
            if not free:
                raise TransportError(f"all {MAX_DEVICES} device numbers are taken")
            number = min(free, key=lambda n: (self._freed.get(n, 0), n))
        if not 0 <= number < MAX_DEVICES:
            raise TransportError(f"device number is {number}: must be 0 to {MAX_DEVICES - 1}")
        if self._taken(number):
            raise TransportError(f"device number is {number}: it is taken")
        self.devices[number] = device
        return number

    def _taken(self, number: int) -> bool:
        return number in self.devices or number in self._leaving

    async def announce(self, dev_num: int) -> None:
        """Tell the driver that device ``dev_num`` is there, if the revision has a message for it.

        Raises
        ------
        TransportError
            There is no such device.
        """
        self._device(dev_num)
        await self._device_event(dev_num, DeviceState.ADDED)

    async def unplug(self, dev_num: int) -> VirtioDevice:
        """Take a device away, then tell the driver, if the revision has a message for it.

        Requests to it are dropped from now on. Its queues are reset, and the accesses to them that
        are under way awaited. Its number stays taken until the driver is told: the other way round
        it would take the next device of this number for the one removed.

        Returns
        -------
        VirtioDevice
            The device.

        Raises
        ------
        TransportError
            There is no such device.
        """
        device = self._device(dev_num)
        del self.devices[dev_num]
        self._freed[dev_num] = 1 + max(self._freed.values(), default=0)
        self._leaving.add(dev_num)
        self._reset(device)
        try:
            await device.drain()
        finally:
            self._leaving.discard(dev_num)
        await self._device_event(dev_num, DeviceState.REMOVED)
        return device

    async def _device_event(self, dev_num: int, state: DeviceState) -> None:
        if self._dialect.has("BUS_EVENT_DEVICE", MessageKind.EVENT):
            await self._send_event(
                "BUS_EVENT_DEVICE", 0, device_number=dev_num, device_bus_state=state
            )

    def reset(self) -> None:
        """The host reset the function: reset every device, and answer nobody of before."""
        self._epoch += 1
        for device in self.devices.values():
            self._reset(device)

    def _reset(self, device: VirtioDevice) -> None:
        with self.contain(device):
            # What every device has is reset whatever the device's own code raises.
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
        # A response answered with a response would run for ever between two such ends; an
        # answered BUS_PING comes back like that from some drivers.
        if message.kind is MessageKind.RESPONSE:
            raise Refused(Drop.NOT_FOR_DEVICE, f"{message.layout}: responses end at the driver")
        handler = self._bus_handlers.get(message.role)
        if handler is not None:
            return handler(message)
        if not self._requests.serves(message):
            raise Refused(Drop.NOT_FOR_DEVICE, f"{message.layout}: only a device sends it")
        device = self.devices.get(message.dev_num)
        if device is None:
            text = f"{message.layout}: dev_num is {message.dev_num}: no device has this number"
            raise Refused(Drop.NO_DEVICE, text)
        failure = device.failure
        with self.contain(device):
            return self._requests.handle(message, device)
        if device.failure is not failure:
            await self.notify_failure(device)
        return self._requests.refusal(message, device)

    # Bus messages

    def _get_devices(self, request: Message) -> Message:
        # A window of the 32 slots: bit k is slot offset + k. Linux asks for (0, 32) and takes no
        # other answer than all 32 of them.
        offset, asked = request.number("offset"), request.number("num")
        array = self._dialect.layout(request.role, MessageKind.RESPONSE).array("bitmap")
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


def _reason(error: MessageError) -> Drop:
    if isinstance(error, TruncatedError):
        return Drop.TRUNCATED
    if isinstance(error, UnknownMessageError):
        return Drop.UNKNOWN
    return Drop.MALFORMED
