# SPDX-License-Identifier: BSD-2-Clause
"""The oracle: compares the stimuli with the observed events.

Several tasks report the events of one clock edge in any order, so the oracle collects them and
handles them in the order of their effects in the gateware.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum

from models.layout import SharedLayout

from .device_queue import DeviceQueueStates
from .driver_queue import DriverQueueStates
from .errors import HostileFailure
from .ram_shadow import RamShadow
from .state_set import DISCARDED, IndexStore
from .vectors import Vector


class EventKind(IntEnum):
    """Kinds of events, in the order of their effects at one clock edge."""

    RESET = 0
    DOORBELL = 1
    DELIVERED = 2
    ACCEPTED = 3
    INTERRUPT = 4
    END_OF_RESET = 5


@dataclass(slots=True)
class SentPacket:
    """A packet sent by the device side.

    Parameters
    ----------
    fifo
        ``tdest``; the FIFO need not exist.
    data
        Its bytes, of any number.
    floor
        Stores of the host with a lower number had taken effect when the packet was sent.
    """

    fifo: int
    data: bytes
    floor: int


@dataclass(slots=True)
class Tally:
    """Counts of checked events.

    Parameters
    ----------
    to_device, to_driver
        Correctly delivered messages.
    interrupts
        Interrupts received.
    """

    to_device: int = 0
    to_driver: int = 0
    interrupts: int = 0


class Oracle:
    """Checks the endpoint's behaviour against the stimuli.

    Parameters
    ----------
    layout
        Layout of the FIFO BAR.
    num_fifos
        Number of FIFOs of the design.
    ram
        Contents of the FIFO BAR.
    tally
        Counts to add to.

    Attributes
    ----------
    number
        Number of stores, doorbells and requests sent by the host.
    confirmed
        All stores with a lower number have taken effect.
    driver, device, vectors
        State of the driver queue, the device queue and the interrupt of each FIFO.
    touched
        FIFOs with events since their index words were last checked.
    """

    def __init__(self, layout: SharedLayout, num_fifos: int, ram: RamShadow, tally: Tally) -> None:
        self.layout = layout
        self.num_fifos = num_fifos
        self.tally = tally
        self.number = 0
        self._queue = layout.queue
        self.begin(ram)

    def restart(self) -> None:
        """Start over after ``rst``: the queues are empty and nothing is in flight."""
        self.confirmed = self.number
        fifos = range(self.num_fifos)
        self.driver = [DriverQueueStates(f"driver queue {fifo}", self._queue) for fifo in fifos]
        self.device = [DeviceQueueStates(f"device queue {fifo}", self._queue) for fifo in fifos]
        self.vectors = [Vector(f"interrupt {fifo}") for fifo in fifos]
        self.touched: set[int] = set()
        self._doorbells: list[list[int]] = [[] for _ in fifos]
        self._stored_slots: list[set[int]] = [set() for _ in fifos]
        self._packets: list[SentPacket] = []
        self._last_accepted_floor = 0
        self._events: list[tuple[float, EventKind, int, Callable[[], None]]] = []
        self._event_number = 0
        self._delivered = 0
        self._malformed = 0
        self._was_reset = False

    @property
    def queues(self) -> list[DriverQueueStates | DeviceQueueStates]:
        """All driver and device queues."""
        return [*self.driver, *self.device]

    def ignore_events(self) -> None:
        """Ignore events until :meth:`begin`: a history failed."""
        self.restart()
        self._ignores_events = True

    def begin(self, ram: RamShadow) -> None:
        """Start over with new contents of the RAM."""
        self.ram = ram
        self.restart()
        self._ignores_events = False

    def record(self, time_ns: float, kind: EventKind, effect: Callable[[], None]) -> None:
        """Record an event at ``time_ns``; :meth:`handle_events` calls ``effect``."""
        if self._ignores_events:
            return
        self._event_number += 1
        heapq.heappush(self._events, (time_ns, kind, self._event_number, effect))

    def handle_events(self, before_ns: float = float("inf")) -> None:
        """Handle the events before ``before_ns``.

        Raises
        ------
        HostileFailure
            An event is not allowed.
        """
        while self._events and self._events[0][0] < before_ns:
            heapq.heappop(self._events)[3]()

    def store(self, offset: int, data: bytes, enables: Iterable[bool]) -> None:
        """Record a store to the FIFO BAR: whole dwords from byte ``offset`` on."""
        self.number += 1
        # A store does not cross a page.
        if not self.layout.is_ram(offset, self.num_fifos):
            return
        enabled = list(enables)
        self.ram.host_store(self.number, offset, data, enabled)
        for start in range(0, len(data), 4):
            mask = sum(0xFF << 8 * byte for byte in range(4) if enabled[start + byte])
            if mask:
                dword = int.from_bytes(data[start : start + 4], "little")
                self._store_dword(offset + start, dword, mask)

    def _store_dword(self, offset: int, data: int, mask: int) -> None:
        layout, queue_layout = self.layout, self._queue
        fifo, fifo_offset = divmod(offset, layout.fifo_stride)
        if fifo >= self.num_fifos:
            return
        for queue, base in (
            (self.driver[fifo], layout.driver_queue),
            (self.device[fifo], layout.device_queue),
        ):
            within = fifo_offset - base
            if within in (queue_layout.head_offset, queue_layout.tail_offset):
                self.touched.add(fifo)
                to_head = within == queue_layout.head_offset
                queue.store(IndexStore(self.number, to_head, data, mask))
            elif queue is self.driver[fifo] and (
                queue_layout.slots_offset <= within < queue_layout.size
            ):
                slot = (within - queue_layout.slots_offset) // queue_layout.slot_size
                self._stored_slots[fifo].add(slot)

    def ring(self, fifos: Iterable[int]) -> None:
        """Record a write that rings the doorbells of ``fifos``."""
        self.number += 1
        for fifo in fifos:
            self.touched.add(fifo)
            self._doorbells[fifo].append(self.number)
        self._set_barrier()

    def _set_barrier(self) -> None:
        first = min((numbers[0] for numbers in self._doorbells if numbers), default=None)
        for queue in self.queues:
            queue.barrier = first

    def request(self) -> int:
        """Record a non-posted request; return its number for :meth:`confirm` at its completion."""
        self.number += 1
        return self.number

    def confirm(self, number: int) -> None:
        """Record that every store before ``number`` has taken effect."""
        if number > self.confirmed:
            self.confirmed = number
            for queue in self.queues:
                queue.confirm(number)

    def doorbell(self, fifo: int) -> None:
        """Handle a doorbell pulse."""
        if not self._doorbells[fifo]:
            raise HostileFailure(f"doorbell {fifo} pulsed without a write to it")
        number = self._doorbells[fifo][0]
        self.confirm(number)
        queue = self.driver[fifo]
        stored = self._stored_slots[fifo]
        # The doorbell flushed earlier stores: a later read of these slots returns their data.
        for slot in stored - queue.readable(stored):
            self.ram.forget_before(number, self._slot_words(fifo, slot))
            stored.discard(slot)
        queue.doorbell(number)
        self._doorbells[fifo].pop(0)
        self._set_barrier()

    def _slot_words(self, fifo: int, slot: int) -> range:
        base = self.layout.driver_queue_base(fifo) + self._queue.slot_offset(slot)
        return self.ram.range(base, self._queue.slot_size)

    def reset(self) -> None:
        """Record the start of a function reset; :meth:`end_reset` ends it."""
        self._was_reset = True
        for queue in self.queues:
            queue.reset()
        self.touched.update(range(self.num_fifos))
        for vector in self.vectors:
            vector.reset()

    def end_reset(self) -> None:
        """Record ``host_reset``: packets sent from now on belong to the time after the reset."""
        for queue in self.device:
            queue.end_reset()

    def delivered(self, fifo: int, data: bytes) -> None:
        """Handle a message delivered to the device side."""
        if fifo >= self.num_fifos:
            raise HostileFailure(f"a message was delivered for FIFO {fifo}")
        if len(data) != self._queue.slot_size:
            raise HostileFailure(f"a message of {len(data)} bytes was delivered")
        size = self.ram.word_bytes

        def matches(slot: int) -> bool:
            for number, index in enumerate(self._slot_words(fifo, slot)):
                values = self.ram.possible(index)
                if values is not None and data[number * size : (number + 1) * size] not in values:
                    return False
            return True

        self.touched.add(fifo)
        self.driver[fifo].delivered(matches, data.hex())
        self.tally.to_device += 1

    def send_packet(self, fifo: int, data: bytes, *, well_formed: bool) -> None:
        """Record a packet that the device side sends."""
        self._packets.append(SentPacket(fifo, data, self.confirmed))
        if fifo < self.num_fifos:
            self.touched.add(fifo)
            self.device[fifo].send(well_formed)

    def accepted(self) -> None:
        """Handle the last beat of the oldest packet, accepted by the engine."""
        packet = self._packets.pop(0)
        floor = max(packet.floor, self._last_accepted_floor)
        self._last_accepted_floor = self.confirmed
        if packet.fifo >= self.num_fifos:
            self._malformed += 1
            return
        queue = self.device[packet.fifo]
        well_formed = queue.packets[queue.accepted]
        self._write_slots(packet, queue.accept(), floor, whole=well_formed)
        if not well_formed:
            self._malformed += 1
        else:
            self.vectors[packet.fifo].accepted(
                certain=not queue.may_be_aborted, dropped=queue.max_dropped
            )

    def _write_slots(self, packet: SentPacket, slots: set[int], floor: int, *, whole: bool) -> None:
        """Record the engine's write of a packet, which is in one of ``slots``."""
        data = packet.data[: self._queue.slot_size]
        word_bytes = self.ram.word_bytes
        size = self._queue.slot_size if whole else -(-len(data) // word_bytes) * word_bytes
        base = self.layout.device_queue_base(packet.fifo)
        for slot in slots - {DISCARDED}:
            self.ram.engine_store(
                self.number,
                base + self._queue.slot_offset(slot),
                data.ljust(size, b"\0"),
                certain=len(slots) == 1,
                floor=floor,
            )

    def abort(self) -> None:
        """Handle ``rst``: packets in progress may be partly written, and stores may be lost."""
        self.handle_events()
        if self._packets and self._packets[0].fifo < self.num_fifos:
            packet = self._packets[0]
            data = packet.data[: self._queue.slot_size].ljust(self._queue.slot_size, b"\0")
            base = self.layout.device_queue_base(packet.fifo)
            for slot in self.device[packet.fifo].slots_in_progress():
                offset = base + self._queue.slot_offset(slot)
                self.ram.engine_store(self.number, offset, data, certain=False, floor=0)
        self.ram.abandon()
        self.restart()

    def interrupted(self, fifo: int) -> None:
        """Handle an interrupt of ``fifo``."""
        self.tally.interrupts += 1
        self.vectors[fifo].interrupted()

    def unblock_vectors(self) -> None:
        """Allow interrupts of all vectors again."""
        for vector in self.vectors:
            vector.blocked = False

    def check_quiescent(self) -> None:
        """Check the quiescent state: nothing is in flight and no stream is stalled.

        Raises
        ------
        HostileFailure
            A doorbell, packet or message is missing.
        """
        self.handle_events()
        self.confirm(self.number + 1)
        for fifo, numbers in enumerate(self._doorbells):
            if numbers:
                raise HostileFailure(f"doorbell {fifo} has {len(numbers)} writes without a pulse")
        oldest = self._packets[0].fifo if self._packets else None
        for fifo in range(self.num_fifos):
            self.device[fifo].check_quiescent(oldest=oldest == fifo)
            self.driver[fifo].check_quiescent(must_deliver=self.device[fifo].has_space)
        self.ram.quiesce()
        delivered = sum(queue.delivered_messages for queue in self.device)
        self.tally.to_driver += max(0, delivered - self._delivered)
        self._delivered = max(delivered, self._delivered)

    def check_indices(
        self, fifo: int, driver: tuple[int, int], device: tuple[int, int], ready: bool
    ) -> None:
        """Check heads and tails read by the host and ``device_queue_ready``, when quiescent."""
        self.driver[fifo].check_indices(*driver)
        self.device[fifo].check_indices(*device, ready)
        self.touched.discard(fifo)

    def check_pending(self, pending: int, allowed: Iterable[bool]) -> None:
        """Check the pending bits when quiescent; ``allowed`` are the vectors that may send."""
        for fifo, may_send in enumerate(allowed):
            self.vectors[fifo].check_quiescent(
                pending >> fifo & 1, may_send=may_send, dropped=self.device[fifo].max_dropped
            )
        if pending >> self.num_fifos:
            raise HostileFailure(f"pending bits of nonexistent vectors are set: {pending:#x}")

    def check_counters(self, malformed: int, dropped: int) -> None:
        """Check the design's counters of malformed and of dropped packets when quiescent."""
        counts = {0}
        for queue in self.device:
            dropped_by_queue = {state.dropped for state in queue.states}
            counts = {total + count for total in counts for count in dropped_by_queue}
        # A malformed packet that is valid during a reset is counted as dropped.
        miscounted = self._malformed - malformed if self._was_reset else 0
        if dropped - miscounted not in counts or not 0 <= miscounted <= self._malformed:
            expected = " or ".join(map(str, sorted(counts)))
            raise HostileFailure(
                f"{malformed} packets are counted as malformed, must be {self._malformed}, "
                f"and {dropped} as dropped, must be {expected}"
            )
