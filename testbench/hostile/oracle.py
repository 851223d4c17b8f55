# SPDX-License-Identifier: BSD-2-Clause
"""The oracle: compares the stimuli with the observed events.

Several tasks report the events of one clock edge in any order, so the oracle collects them and
handles them in the order of their effects in the gateware.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from models.layout import SPSC_PAGES

from .device_queue import DeviceQueueStates
from .driver_queue import DriverQueueStates
from .errors import HostileFailure
from .ram_shadow import RamShadow
from .state_set import GIVEN_UP, QUEUE, IndexStore
from .vectors import Vector

RESET, RANG, CAME_OUT, TAKEN, INTERRUPTED, RESET_TOLD = range(6)
"""Kinds of events, in the order of their effects at one clock edge."""


@dataclass(slots=True)
class OfferedPacket:
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

    @property
    def slot_words(self) -> bytes:
        """Bytes that the engine writes to the slot."""
        return self.data[: QUEUE.slot_size]


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

    def __init__(self, num_fifos: int, ram: RamShadow, tally: Tally) -> None:
        self.num_fifos = num_fifos
        self.tally = tally
        self.number = 0
        self.begin(ram)

    def restart(self) -> None:
        """Start over after ``rst``: the queues are empty and nothing is in flight."""
        self.confirmed = self.number
        fifos = range(self.num_fifos)
        self.driver = [DriverQueueStates(f"driver queue {fifo}") for fifo in fifos]
        self.device = [DeviceQueueStates(f"device queue {fifo}") for fifo in fifos]
        self.vectors = [Vector(f"interrupt {fifo}") for fifo in fifos]
        self._doorbells: list[list[int]] = [[] for _ in fifos]
        self._stored_slots: list[set[int]] = [set() for _ in fifos]
        self._offered: list[OfferedPacket] = []
        self._last_taken = 0
        self._seen: list[tuple[float, int, int, Callable[[], None]]] = []
        self._order = 0
        self._delivered = 0
        self._malformed = 0
        self._was_reset = False
        self.touched: set[int] = set()

    @property
    def queues(self) -> list[DriverQueueStates | DeviceQueueStates]:
        """All driver and device queues."""
        return [*self.driver, *self.device]

    def give_up(self) -> None:
        """Ignore events until :meth:`begin`: a history failed."""
        self.restart()
        self._listens = False

    def begin(self, ram: RamShadow) -> None:
        """Start over with new contents of the RAM."""
        self.ram = ram
        self.restart()
        self._listens = True

    def sees(self, time_ns: float, kind: int, effect: Callable[[], None]) -> None:
        """Record an event at ``time_ns``; :meth:`catch_up` calls ``effect``."""
        if not self._listens:
            return
        self._order += 1
        heapq.heappush(self._seen, (time_ns, kind, self._order, effect))

    def catch_up(self, before_ns: float = float("inf")) -> None:
        """Handle the events before ``before_ns``.

        Raises
        ------
        HostileFailure
            An event is not allowed.
        """
        while self._seen and self._seen[0][0] < before_ns:
            heapq.heappop(self._seen)[3]()

    def stored(self, offset: int, data: bytes, enables: Iterable[bool]) -> None:
        """Record a store to the FIFO BAR: whole dwords from byte ``offset`` on."""
        self.number += 1
        on = list(enables)
        self.ram.host_store(self.number, offset, data, on)
        for start in range(0, len(data), 4):
            mask = sum(0xFF << 8 * byte for byte in range(4) if on[start + byte])
            if mask:
                dword = int.from_bytes(data[start : start + 4], "little")
                self._stored_dword(offset + start, dword, mask)

    def _stored_dword(self, offset: int, data: int, mask: int) -> None:
        fifo, place = divmod(offset, SPSC_PAGES.fifo_stride)
        if fifo >= self.num_fifos:
            return
        for queue, base in (
            (self.driver[fifo], SPSC_PAGES.driver_queue),
            (self.device[fifo], SPSC_PAGES.device_queue),
        ):
            within = place - base
            if within in (QUEUE.head_offset, QUEUE.tail_offset):
                self.touched.add(fifo)
                queue.store(IndexStore(self.number, within == QUEUE.head_offset, data, mask))
            elif queue is self.driver[fifo] and QUEUE.slots_offset <= within < QUEUE.size:
                slot = (within - QUEUE.slots_offset) // QUEUE.slot_size
                self._stored_slots[fifo].add(slot)

    def rings(self, fifos: Iterable[int]) -> None:
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

    def asks(self) -> int:
        """Record a non-posted request; return its number for :meth:`confirm` at its completion."""
        self.number += 1
        return self.number

    def confirm(self, number: int) -> None:
        """Record that every store before ``number`` has taken effect."""
        if number > self.confirmed:
            self.confirmed = number
            for queue in self.queues:
                queue.confirm(number)

    def rang(self, fifo: int) -> None:
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
        queue.rang(number)
        self._doorbells[fifo].pop(0)
        self._set_barrier()

    def _slot_words(self, fifo: int, slot: int) -> range:
        base = SPSC_PAGES.driver_queue_base(fifo) + QUEUE.slot_offset(slot)
        return self.ram.range(base, QUEUE.slot_size)

    def reset(self) -> None:
        """Record the start of a function reset; :meth:`reset_told` ends it."""
        self._was_reset = True
        for queue in self.queues:
            queue.reset()
        self.touched.update(range(self.num_fifos))
        for vector in self.vectors:
            # Interrupts in flight may still arrive.
            vector.owed = vector.blocked = False

    def reset_told(self) -> None:
        """Record ``host_reset``: packets sent from now on belong to the time after the reset."""
        for queue in self.device:
            queue.reset_told()

    def came_out(self, fifo: int, data: bytes) -> None:
        """Handle a message delivered to the device side."""
        if fifo >= self.num_fifos:
            raise HostileFailure(f"a message was delivered for FIFO {fifo}")
        if len(data) != QUEUE.slot_size:
            raise HostileFailure(f"a message of {len(data)} bytes was delivered")
        size = self.ram.word_bytes

        def could_be(slot: int) -> bool:
            for number, index in enumerate(self._slot_words(fifo, slot)):
                values = self.ram.possible(index)
                if values is not None and data[number * size : (number + 1) * size] not in values:
                    return False
            return True

        self.touched.add(fifo)
        self.driver[fifo].came_out(could_be, lambda: f"{data.hex()} was delivered")
        self.tally.to_device += 1

    def offers(self, fifo: int, data: bytes, *, well_formed: bool) -> None:
        """Record a packet that the device side sends."""
        self._offered.append(OfferedPacket(fifo, data, self.confirmed))
        if fifo < self.num_fifos:
            self.touched.add(fifo)
            self.device[fifo].offer(well_formed)

    def taken(self) -> None:
        """Handle the last beat of the oldest packet, accepted by the engine."""
        packet = self._offered.pop(0)
        floor, self._last_taken = max(packet.floor, self._last_taken), self.confirmed
        if packet.fifo >= self.num_fifos:
            self._malformed += 1
            return
        queue = self.device[packet.fifo]
        well_formed = queue.packets[queue.accepted]
        self._written(packet, queue.took(), floor, whole=well_formed)
        if not well_formed:
            self._malformed += 1
        else:
            certain = not any(state.void for state in queue.states)
            self.vectors[packet.fifo].raised(certain=certain, dropped=queue.most_dropped)

    def _written(self, packet: OfferedPacket, places: set[int], floor: int, *, whole: bool) -> None:
        data = packet.slot_words
        size = QUEUE.slot_size if whole else -(-len(data) // self.ram.word_bytes)
        data = data.ljust(size if whole else size * self.ram.word_bytes, b"\0")
        base = SPSC_PAGES.device_queue_base(packet.fifo)
        for slot in places - {GIVEN_UP}:
            self.ram.engine_store(
                self.number,
                base + QUEUE.slot_offset(slot),
                data,
                certain=len(places) == 1,
                floor=floor,
            )

    def cut_off(self) -> None:
        """Handle ``rst``: packets in progress may be partly written, and stores may be lost."""
        self.catch_up()
        if self._offered and self._offered[0].fifo < self.num_fifos:
            packet = self._offered[0]
            queue = self.device[packet.fifo]
            slots = queue.under_way()
            for slot in slots:
                base = SPSC_PAGES.device_queue_base(packet.fifo) + QUEUE.slot_offset(slot)
                data = packet.slot_words.ljust(QUEUE.slot_size, b"\0")
                self.ram.engine_store(self.number, base, data, certain=False, floor=0)
        self.ram.abandon()
        self.restart()

    def interrupted(self, fifo: int) -> None:
        """Handle an interrupt of ``fifo``."""
        self.tally.interrupts += 1
        self.vectors[fifo].came()

    @property
    def waiting_packets(self) -> int:
        """Number of packets of the device side that the engine has not accepted."""
        return len(self._offered)

    def at_rest(self) -> None:
        """Check the quiescent state: nothing is in flight and no stream is stalled.

        Raises
        ------
        HostileFailure
            A doorbell, packet or message is missing.
        """
        self.catch_up()
        self.confirm(self.number + 1)
        for fifo, numbers in enumerate(self._doorbells):
            if numbers:
                raise HostileFailure(f"doorbell {fifo} has {len(numbers)} writes without a pulse")
        waiting = self._offered[0].fifo if self._offered else None
        for fifo in range(self.num_fifos):
            self.device[fifo].at_rest(first=waiting == fifo)
            room = {state.room for state in self.device[fifo].states}
            self.driver[fifo].at_rest(room=room == {True})
        self.ram.settle()
        delivered = sum(queue.delivered for queue in self.device)
        self.tally.to_driver += max(0, delivered - self._delivered)
        self._delivered = max(delivered, self._delivered)

    def reads(
        self, fifo: int, driver: tuple[int, int], device: tuple[int, int], ready: bool
    ) -> None:
        """Check heads and tails read by the host and ``device_queue_ready``, when quiescent."""
        self.driver[fifo].reads(*driver)
        self.device[fifo].reads(*device, ready)
        self.touched.discard(fifo)

    def check_interrupts(self, pending: int, allowed: Iterable[bool]) -> None:
        """Check the pending bits when quiescent; ``allowed`` are the vectors that may send."""
        for fifo, may_send in enumerate(allowed):
            self.vectors[fifo].check(
                pending >> fifo & 1, may_send=may_send, dropped=self.device[fifo].most_dropped
            )
        if pending >> self.num_fifos:
            raise HostileFailure(f"pending bits of nonexistent vectors are set: {pending:#x}")

    def check_dropped(self, malformed: int, dropped: int) -> None:
        """Check the design's counters of malformed and of dropped packets when quiescent."""
        counts = {0}
        for queue in self.device:
            each = {state.dropped for state in queue.states}
            counts = {total + count for total in counts for count in each}
        # A malformed packet that is valid during a reset is counted as dropped.
        swapped = self._malformed - malformed if self._was_reset else 0
        if dropped - swapped not in counts or not 0 <= swapped <= self._malformed:
            want = " or ".join(map(str, sorted(counts)))
            raise HostileFailure(
                f"{malformed} packets are counted as malformed, must be {self._malformed}, "
                f"and {dropped} as dropped, must be {want}"
            )


__all__ = [
    "CAME_OUT",
    "INTERRUPTED",
    "RANG",
    "RESET",
    "RESET_TOLD",
    "TAKEN",
    "OfferedPacket",
    "Oracle",
    "Tally",
]
