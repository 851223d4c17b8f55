# SPDX-License-Identifier: BSD-2-Clause
"""The contracts between driver, endpoint and device side, and the driver's bus over a FIFO.

Nothing here knows a simulator. A testbench implements :class:`HostFunction` over its root complex
and :class:`DevicePort` over the endpoint's streams; ``models.system`` implements both over the
golden endpoint. Then the same driver and the same transport run on either.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Protocol
from weakref import ref

from .dma import HostMemory
from .layout import SPSC_PAGES, SharedLayout
from .limits import span
from .messages import Dialect, dialect_of
from .observers import Observers
from .runtime import Event, Lock, Runtime, sleep
from .shell import AMP_PCI, PciShell
from .spsc import AsyncSpscQueue

POLL_FIRST_US = 1.0
POLL_LAST_US = 64.0
"""How often a full driver queue is looked at again: after 1 µs, doubling up to 64 µs."""
SEND_TIMEOUT_US = 1_000_000.0


class Direction(StrEnum):
    """Which way a message crosses."""

    TO_DEVICE = "driver→device"
    TO_DRIVER = "device→driver"


MessageObserver = Callable[[Direction, int, bytes], None]
"""Called with direction, FIFO and raw bytes for each message that crosses."""


class BusError(Exception):
    """The bus could not do what was asked."""


class BusTimeoutError(BusError):
    """The driver queue stayed full; the text names FIFO and time."""


class MaximumSizeError(BusError):
    """A maximum message size that no slot holds; the text names revision, sizes and layout."""


def dialect_on(layout: SharedLayout, revision: str | Dialect) -> Dialect:
    """The revision of a bus whose messages cross in the slots of ``layout``.

    Raises
    ------
    MaximumSizeError
        Its maximum message size is above a slot's.
    RevisionError
        There is no revision of this name.
    """
    dialect, slot = dialect_of(revision), layout.queue.slot_size
    if dialect.max_size > slot:
        raise MaximumSizeError(
            f"revision {dialect.revision}: max_size is {dialect.max_size}: must be at most {slot}, "
            f"a slot of {layout.name}"
        )
    return dialect


class HostFunction(Protocol):
    """What host software can do to the PCI function once its BARs are assigned."""

    @property
    def num_fifos(self) -> int:
        """FIFOs of the endpoint."""

    @property
    def memory(self) -> HostMemory:
        """Memory of the host, which the function reaches as a bus master."""

    async def bar_read(self, bar: int, offset: int, size: int) -> bytes:
        """Read ``size`` bytes at byte ``offset`` of BAR ``bar``."""

    async def bar_write(self, bar: int, offset: int, data: bytes) -> None:
        """Write ``data`` at byte ``offset`` of BAR ``bar``; posted, in order with other accesses.

        A 4-byte aligned write of 4 bytes reaches the function as one access.
        """

    def interrupt(self, vector: int) -> Event:
        """A new event that every MSI-X message of ``vector`` sets from now on.

        Each call gives an event of its own, so that two waiters never clear each other's. Keep it:
        one that is dropped is set no longer.
        """


class InterruptLog:
    """What a :class:`HostFunction` keeps of its vectors: counts, and the events of who waits.

    Parameters
    ----------
    new_event
        Makes an event.

    Attributes
    ----------
    counts
        MSI-X messages received, by vector.
    """

    def __init__(self, new_event: Callable[[], Event]) -> None:
        self.counts: dict[int, int] = {}
        self._new_event = new_event
        # Weakly: a bus that is dropped takes its event with it.
        self._events: dict[int, list[ref[Event]]] = {}

    def event(self, vector: int) -> Event:
        """As :meth:`HostFunction.interrupt`."""
        event = self._new_event()
        living = [one for one in self._events.get(vector, ()) if one() is not None]
        self._events[vector] = [*living, ref(event)]
        return event

    def raised(self, vector: int) -> None:
        """A message of ``vector`` came, which is in ``counts``."""
        self.counts[vector] += 1
        for one in self._events.get(vector, ()):
            event = one()
            if event is not None:
                event.set()


class DevicePort(Protocol):
    """The device side of the endpoint: its two message streams."""

    async def receive(self) -> tuple[int, bytes]:
        """The next message of any FIFO: the FIFO's number and the whole 64-byte slot."""

    async def send(self, fifo: int, message: bytes) -> None:
        """Send 8 to 64 bytes to the driver; waits while the FIFO's device queue is full.

        Several tasks may call it at once; a FIFO's messages leave in the order of the calls, and
        a full FIFO holds up no other. What still waits when the host resets the function is
        discarded: it belongs to the driver before.
        """


class DriverBus(Protocol):
    """What a driver needs: messages out, messages in."""

    async def open(self) -> None:
        """Get ready, going on with what is there."""

    async def send(self, message: bytes) -> None:
        """Send one message; several tasks may call it at once."""

    async def recv(self) -> bytes:
        """The next message; only one task calls it."""


class BarMemory:
    """BAR ``bar`` of ``host`` as an :class:`~models.spsc.AsyncMemory` for the queues."""

    def __init__(self, host: HostFunction, bar: int) -> None:
        self._host = host
        self._bar = bar

    async def read(self, offset: int, size: int) -> bytes:
        """``size`` bytes from byte ``offset``."""
        return await self._host.bar_read(self._bar, offset, size)

    async def write(self, offset: int, data: bytes) -> None:
        """Store ``data`` at byte ``offset``; posted."""
        await self._host.bar_write(self._bar, offset, data)


class FifoDriverBus:
    """The driver's side of one FIFO, with the accesses that the Linux driver makes.

    Sending: read head (and tail when the queue looks full), store the whole 64-byte slot, store
    head, write the doorbell. Receiving: nothing before an interrupt; then read tail (and head
    when the queue looks empty), read the slot, store tail, until the queue is empty; no doorbell.

    Parameters
    ----------
    host
        The PCI function.
    fifo
        Which FIFO.
    runtime
        Events and time.
    shell, layout
        Where doorbells and queues are.
    send_timeout_us
        How long :meth:`send` waits for room.

    Attributes
    ----------
    observers
        Called for each message: before its doorbell is rung, or when it was taken.
    """

    def __init__(
        self,
        host: HostFunction,
        fifo: int,
        runtime: Runtime,
        *,
        shell: PciShell = AMP_PCI,
        layout: SharedLayout = SPSC_PAGES,
        send_timeout_us: float = SEND_TIMEOUT_US,
    ) -> None:
        if not 0 <= fifo < host.num_fifos:
            raise BusError(f"fifo is {fifo}: must be {span(0, host.num_fifos - 1)}")
        self.fifo = fifo
        self.observers = Observers[[Direction, int, bytes]](f"messages of FIFO {fifo}")
        self._host = host
        self._runtime = runtime
        self._shell = shell
        self._layout = layout
        self._timeout_us = send_timeout_us
        memory = BarMemory(host, shell.fifo_bar)
        queue, capacity = layout.queue, layout.queue.capacity
        self._to_device = AsyncSpscQueue(
            memory, layout.driver_queue_base(fifo), capacity, layout=queue, whole_slots=True
        )
        self._to_driver = AsyncSpscQueue(
            memory, layout.device_queue_base(fifo), capacity, layout=queue
        )
        self._interrupt = host.interrupt(shell.vector_of(fifo, host.num_fifos))
        self._sending = Lock(runtime)
        self._draining = False

    async def open(self) -> None:
        """Read the indices of both queues and go on where they stand."""
        await self._to_device.open()
        await self._to_driver.open()

    async def clear(self) -> None:
        """Zero both queues, the device's own indices included, and open them.

        The newest Linux driver does so each time its module is loaded.
        """
        bar, size = self._shell.fifo_bar, self._layout.queue.size
        for base in (
            self._layout.driver_queue_base(self.fifo),
            self._layout.device_queue_base(self.fifo),
        ):
            for offset in range(0, size, 64):
                await self._host.bar_write(bar, base + offset, bytes(min(64, size - offset)))
        self._draining = False
        await self.open()

    async def send(self, message: bytes) -> None:
        """Send one message of 1 to 64 bytes and ring the doorbell.

        Raises
        ------
        SlotSizeError
            The message does not fit a slot; nothing was sent.
        BusTimeoutError
            The queue stayed full for ``send_timeout_us``.
        """
        message = bytes(message)
        async with self._sending:
            await self._send_when_room(message)
            # Told here, before the doorbell: the answer may come while its write is under way.
            self.observers.notify(Direction.TO_DEVICE, self.fifo, message)
            doorbell = self._shell.notify(self.fifo)
            await self._host.bar_write(self._shell.register_bar, doorbell, b"\1\0\0\0")

    async def _send_when_room(self, message: bytes) -> None:
        pause, waited = POLL_FIRST_US, 0.0
        while not await self._to_device.send(message):
            if waited >= self._timeout_us:
                raise BusTimeoutError(
                    f"driver queue of FIFO {self.fifo} is full for {self._timeout_us:g} us"
                )
            await sleep(self._runtime, pause)
            waited += pause
            pause = min(2 * pause, POLL_LAST_US)

    async def recv(self) -> bytes:
        """The next message, the whole 64-byte slot."""
        while True:
            if not self._draining:
                await self._interrupt.wait()
                # Cleared before the queue is looked at: a message that comes after the look
                # sets it again.
                self._interrupt.clear()
                self._draining = True
            slot = await self._to_driver.recv(self._layout.queue.slot_size)
            if slot is not None:
                self.observers.notify(Direction.TO_DRIVER, self.fifo, slot)
                return slot
            self._draining = False
