# SPDX-License-Identifier: BSD-2-Clause
"""Exchange of messages on one bus: requests with their responses, and events.

Source: the behaviour of the Linux driver that belongs to the patch series; the driver rules of the
draft's transport revision 1. A response matches a request with the same device number, bus bit, ID
and token. Each device has at most one outstanding request, unless the exchange is pipelined;
requests to different devices overlap.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from enum import StrEnum
from typing import Self

from ..bus import BusError, DriverBus
from ..messages import DeviceState, Dialect, Message, MessageError, MessageKind, dialect_of
from ..observers import Observers
from ..runtime import Event, Lock, Runtime, Task
from .errors import DriverStoppedError, NoDeviceError, RequestTimeoutError
from .inbox import EventInbox

TIMEOUT_US = 1_000_000.0
"""Default timeout of a request. (Linux waits 100 s.)"""
PING_DEPTH = 16
"""Most BUS_PING requests that wait for space in the driver queue; then the oldest is dropped."""
_LOG = logging.getLogger(__name__)
_BUS = -1
"""Stands for the bus in place of a device number."""


class Unclaimed(StrEnum):
    """Reason for which the driver drops a message."""

    MALFORMED = "malformed"
    UNMATCHED = "response without a request"
    UNEXPECTED = "request that is not for a driver"


class _Pending:
    """Outstanding request."""

    def __init__(self, answered: Event) -> None:
        self.answered = answered
        self.response: Message | None = None
        self.removed = False


class Exchange:
    """Requests, responses and events on a bus. ``async with`` starts and stops it.

    Parameters
    ----------
    bus
        Message transport.
    runtime
        Tasks, events and time.
    revision
        Wire revision, by name or as an object.
    timeout_us
        Time that a request waits for its response, in microseconds.
    pipelined
        Whether a device may have several outstanding requests. They are sent in order, and every
        revision here responds in order. The Linux driver waits for each response.

    Attributes
    ----------
    runtime
        Tasks, events and time.
    dialect
        Wire revision with the parameters of the bus.
    unclaimed
        Number of messages dropped, by reason.
    device_events
        EVENT_DEVICE messages, for added and removed devices.
    event_callbacks
        Called with every event in the receive task, so they must not block. An exception is logged
        and kept in ``event_callbacks.errors``; the receive task continues.
    failure
        Exception of the bus that ended the receive task; None while the bus works.
    pings_answered
        Number of BUS_PING requests from the device that were answered.
    pings_lost
        Number of BUS_PING requests dropped because the bus had no space in time or too many waited.
    generations
        Newest configuration generation in a response or an event, by device number.
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
        self._request_locks: dict[int, Lock] = {}
        self._pending: dict[tuple[int, str, int], _Pending] = {}
        self._subscribers: list[tuple[int | None, EventInbox]] = []
        self._pings: deque[Message] = deque(maxlen=PING_DEPTH)
        self._ping_arrived = runtime.event()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop()

    async def start(self) -> None:
        """Open the bus and start receiving."""
        if not self._tasks:
            self.failure = None
            await self._bus.open()
            # A separate task answers pings: the receive task must continue while the driver queue
            # is full, or both sides would deadlock.
            self._tasks = [
                self.runtime.spawn(self._receive()),
                self.runtime.spawn(self._answer_pings()),
            ]

    def stop(self) -> None:
        """Stop receiving. Outstanding requests fail with :class:`DriverStoppedError`."""
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
            Name or alias of the request.
        dev_num
            Device number; 0 for bus messages.
        **fields
            Fields of the request.

        Raises
        ------
        MessageError
            ``fields`` do not fit the request.
        RequestTimeoutError
            No response arrived in time.
        NoDeviceError
            The device was removed.
        DriverStoppedError
            The driver is not running.
        BusError
            The bus had no space for the request in time.
        """
        if self._pipelined:
            return await self._exchange(name, dev_num, fields)
        is_bus = self.dialect.layout(name, MessageKind.REQUEST).bus
        lock = self._request_locks.setdefault(_BUS if is_bus else dev_num, Lock(self.runtime))
        async with lock:
            return await self._exchange(name, dev_num, fields)

    async def _exchange(self, name: str, dev_num: int, fields: dict[str, object]) -> Message:
        if not self._tasks:
            raise DriverStoppedError(
                f"{name}: {self._stop_reason('is not running')}"
            ) from self.failure
        request = self.dialect.message(
            name, MessageKind.REQUEST, dev_num=dev_num, token=self._next_token(), **fields
        )
        target = f"{request.name} to {'the bus' if request.bus else f'device {request.dev_num}'}"
        if not request.bus and dev_num in self._removed:
            raise NoDeviceError(f"{target}: the device was removed")
        key = (_address_of(request), request.name, request.token)
        pending = self._pending[key] = _Pending(self.runtime.event())
        try:
            await self._bus.send(request.wire())
            answered = await self.runtime.wait(pending.answered, self._timeout_us)
        finally:
            del self._pending[key]
        if pending.removed:
            raise NoDeviceError(f"{target}: the device was removed")
        if not answered:
            raise RequestTimeoutError(f"{target}: no response for {self._timeout_us:g} us")
        if pending.response is None:
            raise DriverStoppedError(
                f"{target}: {self._stop_reason('was stopped')}"
            ) from self.failure
        return pending.response

    def _stop_reason(self, state: str) -> str:
        return f"the driver {state}" if self.failure is None else f"the bus failed: {self.failure}"

    def _next_token(self) -> int:
        # Skip 0, which means "no token" in events and in responses of old devices.
        used = {token for _, _, token in self._pending}
        while True:
            self._token = self._token % 0xFFFF + 1
            if self._token not in used:
                return self._token

    # Receiving

    async def _receive(self) -> None:
        while True:
            try:
                raw = await self._bus.recv()
            except Exception as error:
                # No further message can arrive: fail all outstanding requests.
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
            key = (_address_of(message), message.name, message.token)
            pending = self._pending.get(key)
            if pending is None or pending.response is not None:
                self.unclaimed[Unclaimed.UNMATCHED] += 1
                return
            self._note_generation(message)
            if message.role == "BUS_GET_DEVICES":
                # Here, not in the requesting task: a removal may be the next message.
                self._removed.difference_update(device_numbers(message))
            pending.response = message
            pending.answered.set()
        elif message.kind is MessageKind.EVENT:
            if message.bus:
                self._device_event(message)
            self._note_generation(message)
            self.event_callbacks.notify(message)
            for dev_num, queue in self._subscribers:
                if dev_num in (None, _address_of(message)):
                    queue.put(message)
        elif message.name == "BUS_PING":
            if len(self._pings) == PING_DEPTH:
                self.pings_lost += 1
            self._pings.append(message)
            self._ping_arrived.set()
        else:
            self.unclaimed[Unclaimed.UNEXPECTED] += 1

    def _bus_failed(self, error: Exception) -> None:
        _LOG.error("the driver's bus failed: %r", error, exc_info=error)
        self.failure = error
        # This runs in the receive task, the first one, which must not cancel itself.
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
            for (address, _, _), pending in self._pending.items():
                if address == dev_num and pending.response is None:
                    pending.removed = True
                    pending.answered.set()
        elif state == DeviceState.ADDED:
            self._removed.discard(dev_num)
        self.device_events.put(message)

    async def _answer_pings(self) -> None:
        while True:
            await self._ping_arrived.wait()
            self._ping_arrived.clear()
            while self._pings:
                ping = self._pings.popleft()
                try:
                    await self._bus.send(ping.respond(data=ping.number("data")).wire())
                except Exception as error:
                    # Continue: later answers may succeed.
                    self.pings_lost += 1
                    if not isinstance(error, BusError):
                        _LOG.warning("an answer to BUS_PING was lost: %r", error)
                else:
                    self.pings_answered += 1

    def subscribe(self, dev_num: int | None = None) -> EventInbox:
        """Create an inbox for all later events of device ``dev_num``, or of all devices."""
        queue = EventInbox(self.runtime)
        self._subscribers.append((dev_num, queue))
        return queue

    def unsubscribe(self, queue: EventInbox) -> None:
        """Stop delivering events to ``queue``."""
        self._subscribers = [entry for entry in self._subscribers if entry[1] is not queue]

    async def wait_device(self, state: DeviceState, timeout_us: float | None = None) -> int | None:
        """Wait for a device to reach ``state`` and return its number; None on timeout."""
        message = await self.device_events.get(
            "BUS_EVENT_DEVICE", device_bus_state=state, timeout_us=timeout_us
        )
        return None if message is None else message.number("device_number")

    async def notify(self, name: str, *, dev_num: int, **fields: object) -> None:
        """Send an event to a device.

        Raises
        ------
        NoDeviceError
            The device was removed.
        BusError
            The bus had no space for the event in time.
        """
        if dev_num in self._removed:
            raise NoDeviceError(f"{name} to device {dev_num}: the device was removed")
        message = self.dialect.message(name, MessageKind.EVENT, dev_num=dev_num, **fields)
        await self._bus.send(message.wire())


def device_numbers(response: Message) -> list[int]:
    """Device numbers in a BUS_GET_DEVICES response, ascending."""
    offset, bitmap = response.number("offset"), bytes(response.bitmap)
    slots = range(response.number("num"))
    return [offset + k for k in slots if bitmap[k // 8] >> k % 8 & 1]


def _address_of(message: Message) -> int:
    """Device number of a message, or ``_BUS`` for a bus message."""
    return _BUS if message.bus else message.dev_num
