# SPDX-License-Identifier: BSD-2-Clause
"""Protocols between driver, endpoint and device side, and the driver's bus over a FIFO.

This module does not depend on a simulator. A testbench implements :class:`HostFunction` over its
root complex and :class:`DevicePort` over the endpoint's streams; ``models.system`` implements both
over the golden endpoint. The same driver and the same transport run on either.
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
"""Delay before a full driver queue is polled for the first time; it doubles with each poll."""
POLL_LAST_US = 64.0
"""Longest delay between two polls of a full driver queue."""
SEND_TIMEOUT_US = 1_000_000.0
"""Default time that :meth:`FifoDriverBus.send` waits for a free slot."""


class Direction(StrEnum):
    """Direction of a message."""

    TO_DEVICE = "driver→device"
    TO_DRIVER = "device→driver"


MessageObserver = Callable[[Direction, int, bytes], None]
"""Callable with direction, FIFO and raw bytes, called for each message on a bus."""


class BusError(Exception):
    """A bus operation failed."""


class BusTimeoutError(BusError):
    """The driver queue stayed full; the text names FIFO and time."""


class MaximumSizeError(BusError):
    """Maximum message size above the slot size; the text names revision, sizes and layout."""


def dialect_on(layout: SharedLayout, revision: str | Dialect) -> Dialect:
    """Dialect of ``revision``, checked against the slot size of ``layout``.

    Raises
    ------
    MaximumSizeError
        The maximum message size is above the slot size.
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
    """PCI function with assigned BARs, as host software accesses it."""

    @property
    def num_fifos(self) -> int:
        """Number of FIFOs of the endpoint."""

    @property
    def memory(self) -> HostMemory:
        """Host memory, which the function can access as a bus master."""

    async def bar_read(self, bar: int, offset: int, size: int) -> bytes:
        """Read ``size`` bytes at byte ``offset`` of BAR ``bar``."""

    async def bar_write(self, bar: int, offset: int, data: bytes) -> None:
        """Write ``data`` at byte ``offset`` of BAR ``bar``; posted, in order with other accesses.

        A 4-byte aligned write of 4 bytes reaches the function as one access.
        """

    def interrupt(self, vector: int) -> Event:
        """Create an event that every later MSI-X message of ``vector`` sets.

        Each call returns a separate event, so that two waiters cannot clear each other's. The
        caller must keep a reference: an event that is garbage collected is no longer set.
        """


class InterruptLog:
    """Interrupt counts and events of a :class:`HostFunction`, by vector.

    Parameters
    ----------
    new_event
        Creates an event.

    Attributes
    ----------
    counts
        Number of MSI-X messages received, by vector.
    """

    def __init__(self, new_event: Callable[[], Event]) -> None:
        self.counts: dict[int, int] = {}
        self._new_event = new_event
        # Weak references: the event of a discarded bus is discarded with it.
        self._events: dict[int, list[ref[Event]]] = {}

    def event(self, vector: int) -> Event:
        """Implement :meth:`HostFunction.interrupt`."""
        event = self._new_event()
        live = [reference for reference in self._events.get(vector, ()) if reference() is not None]
        self._events[vector] = [*live, ref(event)]
        return event

    def record(self, vector: int) -> None:
        """Count a message of ``vector`` and set its events. ``counts`` must have the vector."""
        self.counts[vector] += 1
        for reference in self._events.get(vector, ()):
            event = reference()
            if event is not None:
                event.set()


class DevicePort(Protocol):
    """Device side of the endpoint: its two message streams."""

    async def receive(self) -> tuple[int, bytes]:
        """Receive the next message of any FIFO: FIFO number and whole 64-byte slot."""

    async def send(self, fifo: int, message: bytes) -> None:
        """Send 8 to 64 bytes to the driver, waiting while the FIFO's device queue is full.

        Several tasks may call it at once. The messages of a FIFO leave in the order of the calls,
        and a full FIFO does not block the others. When the host resets the function, messages that
        still wait are discarded: they belong to the previous driver.
        """


class DriverBus(Protocol):
    """Message transport of a driver."""

    async def open(self) -> None:
        """Prepare for use, continuing with the present state of the queues."""

    async def send(self, message: bytes) -> None:
        """Send one message. Several tasks may call it at once."""

    async def recv(self) -> bytes:
        """Receive the next message. Only one task may call it."""


class BarMemory:
    """:class:`~models.spsc.AsyncMemory` over BAR ``bar`` of ``host``."""

    def __init__(self, host: HostFunction, bar: int) -> None:
        self._host = host
        self._bar = bar

    async def read(self, offset: int, size: int) -> bytes:
        """Read ``size`` bytes at byte ``offset``."""
        return await self._host.bar_read(self._bar, offset, size)

    async def write(self, offset: int, data: bytes) -> None:
        """Write ``data`` at byte ``offset``; posted."""
        await self._host.bar_write(self._bar, offset, data)


class FifoDriverBus:
    """Driver side of one FIFO, with the accesses that the Linux driver makes.

    To send: read head (and tail if the queue appears full), store the whole 64-byte slot, store
    head, write the doorbell. To receive: wait for an interrupt; then, until the queue is empty,
    read tail (and head if the queue appears empty), read the slot and store tail, without a
    doorbell.

    Parameters
    ----------
    host
        The PCI function.
    fifo
        Number of the FIFO.
    runtime
        Events and time.
    shell
        PCI shell: offsets of the doorbells, and the vectors.
    layout
        Layout of the shared RAM: offsets of the queues.
    send_timeout_us
        Time that :meth:`send` waits for a free slot, in microseconds.

    Attributes
    ----------
    fifo
        Number of the FIFO.
    observers
        Called for each message: before its doorbell is written, or when it has been received.
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
        self._send_lock = Lock(runtime)
        self._draining = False

    async def open(self) -> None:
        """Read the indices of both queues and continue from them."""
        await self._to_device.open()
        await self._to_driver.open()

    async def clear(self) -> None:
        """Zero both queues, including the indices that the device owns, and open them.

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
            The message does not fit in a slot; it was not sent.
        BusTimeoutError
            The queue stayed full for ``send_timeout_us``.
        """
        message = bytes(message)
        async with self._send_lock:
            await self._send_when_space(message)
            # Before the doorbell: the response may arrive while the doorbell write is in flight.
            self.observers.notify(Direction.TO_DEVICE, self.fifo, message)
            doorbell = self._shell.notify(self.fifo)
            await self._host.bar_write(self._shell.register_bar, doorbell, b"\1\0\0\0")

    async def _send_when_space(self, message: bytes) -> None:
        delay_us, waited_us = POLL_FIRST_US, 0.0
        while not await self._to_device.send(message):
            if waited_us >= self._timeout_us:
                raise BusTimeoutError(
                    f"driver queue of FIFO {self.fifo} is full for {self._timeout_us:g} us"
                )
            await sleep(self._runtime, delay_us)
            waited_us += delay_us
            delay_us = min(2 * delay_us, POLL_LAST_US)

    async def recv(self) -> bytes:
        """Receive the next message: the whole 64-byte slot."""
        while True:
            if not self._draining:
                await self._interrupt.wait()
                # Clear before reading the queue: a message that arrives after the read sets the
                # event again.
                self._interrupt.clear()
                self._draining = True
            slot = await self._to_driver.recv(self._layout.queue.slot_size)
            if slot is not None:
                self.observers.notify(Direction.TO_DRIVER, self.fifo, slot)
                return slot
            self._draining = False
