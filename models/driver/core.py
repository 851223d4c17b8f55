# SPDX-License-Identifier: BSD-2-Clause
"""The driver side of one bus: requests and their responses, discovery, events.

Source: the behaviour of the Linux driver that goes with the patch series; the driver's rules of the
draft's transport revision 1. A response belongs to a request by device number, bus or transport, id
and token. One request is under way for each device, unless the driver is told to pipeline, and
different devices go on side by side.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from enum import StrEnum

from ..bus import BusError, DriverBus
from ..messages import DeviceState, Dialect, Message, MessageError, MessageKind, dialect_of
from ..observers import Observers
from ..runtime import Event, Lock, Runtime, Task
from .device import DeviceInfo, RemoteDevice
from .errors import (
    DriverStoppedError,
    NoDeviceError,
    ProtocolError,
    RequestTimeoutError,
)
from .inbox import EventInbox
from .rings import RingAllocator

DISCOVERY_WINDOW = 32
"""Devices asked for at once; a device of the patch series always answers 32."""
DEVICE_NUMBERS = 0x1_0000
"""How many there can be: dev_num has 16 bits."""
TIMEOUT_US = 1_000_000.0
"""How long a request waits. (Linux waits 100 s.)"""
PONG_DEPTH = 16
"""PING requests that wait for room in the driver queue; after that the oldest is lost."""
_LOG = logging.getLogger(__name__)
_BUS = -1
"""Where a device number stands for the bus itself."""


class Unclaimed(StrEnum):
    """Messages that the driver could do nothing with."""

    MALFORMED = "malformed"
    UNMATCHED = "response without a request"
    UNEXPECTED = "request that is not for a driver"


class _Pending:
    """A request that waits for its response."""

    def __init__(self, answered: Event) -> None:
        self.answered = answered
        self.response: Message | None = None
        self.removed = False


class Driver:
    """A driver over a bus; ``async with Driver(bus, runtime) as driver: ...`` starts and stops it.

    Parameters
    ----------
    bus
        Carries the messages.
    runtime
        Tasks, events and time.
    revision
        The wire revision, by name or as an object.
    timeout_us
        How long a request waits for its response, in microseconds.
    pipelined
        Whether a device may have several requests at once. They reach it in order, and every
        revision here answers in order; the Linux driver waits for each.

    Attributes
    ----------
    unclaimed
        Messages that nothing was done with, by reason.
    device_events
        EVENT_DEVICE messages: devices that came and went.
    event_callbacks
        Called with every event, in the receive pump: they must not block. What one raises is
        logged and kept in ``event_callbacks.errors``, and the pump goes on.
    failure
        What the bus raised when the driver wanted to receive, which ended it; None while it works.
    rings
        Where the rings of queues go unless :meth:`probe` is told otherwise.
    pings_answered, pings_lost
        How many PING requests of the device were answered, and how many not: too many came while
        the bus had no room, or it had none in time.
    generations
        By device number the newest generation of its configuration that an answer or an event had.
    """

    def __init__(
        self,
        bus: DriverBus,
        runtime: Runtime,
        *,
        revision: str | Dialect = "v1",
        timeout_us: float = TIMEOUT_US,
        pipelined: bool = False,
    ) -> None:
        self.runtime = runtime
        self.dialect = dialect_of(revision)
        self.unclaimed: Counter[Unclaimed] = Counter()
        self.event_callbacks = Observers[[Message]]("events of the driver")
        self.rings = RingAllocator()
        self.failure: Exception | None = None
        self.pings_answered = 0
        self.pings_lost = 0
        self.generations: dict[int, int] = {}
        self.device_events = EventInbox(runtime)
        self._pipelined = pipelined
        self._removed: set[int] = set()
        self._bus = bus
        self._timeout_us = timeout_us
        self._tasks: list[Task] = []
        self._token = 0
        self._turns: dict[int, Lock] = {}
        self._pending: dict[tuple[int, str, int], _Pending] = {}
        self._subscribers: list[tuple[int | None, EventInbox]] = []
        self._pongs: deque[Message] = deque(maxlen=PONG_DEPTH)
        self._pong_due = runtime.event()

    async def __aenter__(self) -> Driver:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop()

    async def start(self) -> None:
        """Open the bus and start receiving."""
        if not self._tasks:
            self.failure = None
            await self._bus.open()
            # Answers leave from a task of their own: the pump must go on draining while the
            # driver queue is full, or neither side would move.
            self._tasks = [
                self.runtime.spawn(self._pump()),
                self.runtime.spawn(self._answer_pings()),
            ]

    def stop(self) -> None:
        """Stop receiving; requests under way fail with :class:`DriverStoppedError`."""
        for task in self._tasks:
            task.cancel()
        self._tasks = []
        for pending in self._pending.values():
            pending.answered.set()

    async def request(self, name: str, *, dev_num: int = 0, **fields: object) -> Message:
        """Send a request and wait for its response.

        Parameters
        ----------
        name
            The request.
        dev_num
            The device; 0 for bus messages.
        **fields
            The request's fields.

        Raises
        ------
        MessageError
            ``fields`` do not fit the request.
        RequestTimeoutError
            No response came in time.
        NoDeviceError
            The bus said that the device was removed.
        DriverStoppedError
            The driver is not running.
        BusError
            The bus had no room for the request in time.
        """
        if self._pipelined:
            return await self._exchange(name, dev_num, fields)
        is_bus = self.dialect.layout(name, MessageKind.REQUEST).bus
        turn = self._turns.setdefault(_BUS if is_bus else dev_num, Lock(self.runtime))
        async with turn:
            return await self._exchange(name, dev_num, fields)

    async def _exchange(self, name: str, dev_num: int, fields: dict[str, object]) -> Message:
        if not self._tasks:
            raise DriverStoppedError(f"{name}: {self._why('is not running')}") from self.failure
        request = self.dialect.message(
            name, MessageKind.REQUEST, dev_num=dev_num, token=self._next_token(), **fields
        )
        where = f"{request.name} to {'the bus' if request.bus else f'device {request.dev_num}'}"
        if not request.bus and dev_num in self._removed:
            raise NoDeviceError(f"{where}: the device was removed")
        key = (_address(request), request.name, request.token)
        pending = self._pending[key] = _Pending(self.runtime.event())
        try:
            await self._bus.send(request.wire())
            answered = await self.runtime.wait(pending.answered, self._timeout_us)
        finally:
            del self._pending[key]
        if pending.removed:
            raise NoDeviceError(f"{where}: the device was removed")
        if not answered:
            raise RequestTimeoutError(f"{where}: no response for {self._timeout_us:g} us")
        if pending.response is None:
            raise DriverStoppedError(f"{where}: {self._why('was stopped')}") from self.failure
        return pending.response

    def _why(self, state: str) -> str:
        return f"the driver {state}" if self.failure is None else f"the bus failed: {self.failure}"

    def _next_token(self) -> int:
        # 0 stands for "no token" in events and in what old devices answer, so it is left out.
        used = {token for _, _, token in self._pending}
        while True:
            self._token = self._token % 0xFFFF + 1
            if self._token not in used:
                return self._token

    # Receiving

    async def _pump(self) -> None:
        while True:
            try:
                raw = await self._bus.recv()
            except Exception as error:
                # Nothing more can come: whoever waits for an answer hears why.
                self._bus_failed(error)
                return
            try:
                message = self.dialect.decode(raw)
            except MessageError:
                self.unclaimed[Unclaimed.MALFORMED] += 1
                continue
            self._dispatch(message)

    def _dispatch(self, message: Message) -> None:
        if message.kind is MessageKind.RESPONSE:
            key = (_address(message), message.name, message.token)
            pending = self._pending.get(key)
            if pending is None or pending.response is not None:
                self.unclaimed[Unclaimed.UNMATCHED] += 1
                return
            self._note_generation(message)
            if message.role == "BUS_GET_DEVICES":
                # Here and not where they are asked for: a removal may come next.
                self._removed.difference_update(_numbers(message))
            pending.response = message
            pending.answered.set()
        elif message.kind is MessageKind.EVENT:
            if message.bus:
                self._device_event(message)
            self._note_generation(message)
            self.event_callbacks.notify(message)
            for dev_num, queue in self._subscribers:
                if dev_num in (None, _address(message)):
                    queue.put(message)
        elif message.name == "BUS_PING":
            if len(self._pongs) == PONG_DEPTH:
                self.pings_lost += 1
            self._pongs.append(message)
            self._pong_due.set()
        else:
            self.unclaimed[Unclaimed.UNEXPECTED] += 1

    def _bus_failed(self, error: Exception) -> None:
        _LOG.error("the driver's bus failed: %r", error, exc_info=error)
        self.failure = error
        # The pump, first of the tasks, is the one that runs here.
        del self._tasks[:1]
        self.stop()

    def _note_generation(self, message: Message) -> None:
        if message.layout.has("generation"):
            self.generations[message.dev_num] = message.number("generation")

    def _device_event(self, message: Message) -> None:
        dev_num, state = message.number("device_number"), message.number("device_bus_state")
        if state == DeviceState.REMOVED:
            self._removed.add(dev_num)
            self.generations.pop(dev_num, None)
            for (asked, _, _), pending in self._pending.items():
                if asked == dev_num and pending.response is None:
                    pending.removed = True
                    pending.answered.set()
        elif state == DeviceState.ADDED:
            self._removed.discard(dev_num)
        self.device_events.put(message)

    async def _answer_pings(self) -> None:
        while True:
            await self._pong_due.wait()
            self._pong_due.clear()
            while self._pongs:
                ping = self._pongs.popleft()
                try:
                    await self._bus.send(ping.respond(data=ping.number("data")).wire())
                except Exception as error:
                    # Later ones may have more luck.
                    self.pings_lost += 1
                    if not isinstance(error, BusError):
                        _LOG.warning("an answer to BUS_PING was lost: %r", error)
                else:
                    self.pings_answered += 1

    def subscribe(self, dev_num: int | None = None) -> EventInbox:
        """A queue that gets every event of device ``dev_num``, or of all, from now on."""
        queue = EventInbox(self.runtime)
        self._subscribers.append((dev_num, queue))
        return queue

    def unsubscribe(self, queue: EventInbox) -> None:
        """Stop filling ``queue``."""
        self._subscribers = [entry for entry in self._subscribers if entry[1] is not queue]

    async def wait_device(self, state: DeviceState, timeout_us: float | None = None) -> int | None:
        """The number of the next device that came or went; None when none did in time."""
        message = await self.device_events.get(
            "BUS_EVENT_DEVICE", device_bus_state=state, timeout_us=timeout_us
        )
        return None if message is None else message.number("device_number")

    # The bus

    async def notify(self, name: str, *, dev_num: int, **fields: object) -> None:
        """Send an event of the driver.

        Raises
        ------
        NoDeviceError
            The bus said that the device was removed.
        BusError
            The bus had no room for the event in time.
        """
        if dev_num in self._removed:
            raise NoDeviceError(f"{name} to device {dev_num}: the device was removed")
        message = self.dialect.message(name, MessageKind.EVENT, dev_num=dev_num, **fields)
        await self._bus.send(message.wire())

    async def ping(self, data: int = 0) -> None:
        """Send BUS_PING and check what comes back.

        Raises
        ------
        ProtocolError
            The device answered other data.
        """
        response = await self.request("BUS_PING", data=data)
        if response.number("data") != data:
            raise ProtocolError(f"BUS_PING: data is {response.number('data')}: must be {data}")

    async def discover(self) -> list[int]:
        """The numbers of all devices, ascending; there may be gaps.

        One that was removed and is found again takes requests, though its ADDED may have been lost.

        Raises
        ------
        ProtocolError
            The device answered about other devices than those asked for, or would have the driver
            ask for ever.
        """
        found: list[int] = []
        offset = 0
        while True:
            asked = min(DISCOVERY_WINDOW, DEVICE_NUMBERS - offset)
            response = await self.request("BUS_GET_DEVICES", offset=offset, num=asked)
            num, following = response.number("num"), response.number("next_offset")
            if response.number("offset") != offset:
                raise ProtocolError(
                    f"BUS_GET_DEVICES: offset is {response.number('offset')}: must be {offset}"
                )
            if num > asked:
                raise ProtocolError(f"BUS_GET_DEVICES: num is {num}: must be at most {asked}")
            found += _numbers(response)
            if following == 0:
                return found
            if following <= offset:
                raise ProtocolError(
                    f"BUS_GET_DEVICES: next_offset is {following}: must be 0 or above {offset}"
                )
            offset = following

    # Devices

    async def device_info(self, dev_num: int) -> DeviceInfo:
        """What device ``dev_num`` says it is.

        Raises
        ------
        NoDeviceError
            It says it is none: its device id is 0.
        """
        response = await self.request("DEVICE_INFO", dev_num=dev_num)
        info = DeviceInfo.from_message(response)
        if info.device_id == 0:
            raise NoDeviceError(f"device {dev_num}: device_id is 0")
        return info

    async def device(self, dev_num: int) -> RemoteDevice:
        """Ask what device ``dev_num`` is, and change nothing."""
        return RemoteDevice(self, dev_num, await self.device_info(dev_num))

    async def probe(
        self,
        dev_num: int,
        *,
        features: int = 0,
        num_queues: int | None = None,
        rings: RingAllocator | None = None,
    ) -> RemoteDevice:
        """Bring device ``dev_num`` up to DRIVER_OK.

        The messages and their order are the Linux driver's: device info; reset, ACKNOWLEDGE,
        DRIVER; features, FEATURES_OK; each queue; DRIVER_OK.

        Parameters
        ----------
        dev_num
            The device.
        features
            Feature bits, by mask, that this driver knows of the device type; what the device
            offers of them is selected.
        num_queues
            Queues to set up; all that there are, by default.
        rings
            Says where the rings of the queues lie; :attr:`rings` by default.

        Raises
        ------
        DriverError
            A step failed. The device then has FAILED set, if it still answers.
        """
        device = await self.device(dev_num)
        try:
            await device.bring_up(
                features=features, num_queues=num_queues, rings=rings or self.rings
            )
        except BaseException:
            device.close()
            raise
        return device


def _numbers(response: Message) -> list[int]:
    """The devices in an answer to BUS_GET_DEVICES, ascending."""
    offset, bitmap = response.number("offset"), bytes(response.bitmap)
    slots = range(response.number("num"))
    return [offset + k for k in slots if bitmap[k // 8] >> k % 8 & 1]


def _address(message: Message) -> int:
    """Whom a message is from or to: a device's number, or the bus itself."""
    return _BUS if message.bus else message.dev_num
