# SPDX-License-Identifier: BSD-2-Clause
"""Puts together what was sent, what was seen, and what must hold.

What is seen at one clock edge comes from several tasks in any order, so it is kept and taken in the
order in which the gateware does things.
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
"""What happens first of what is seen at one clock edge."""


@dataclass(slots=True)
class OfferedPacket:
    """A packet that the device side has for a FIFO.

    Parameters
    ----------
    fifo
        ``tdest``; the FIFO need not exist.
    data
        Its bytes, any number of them.
    floor
        Number below which every store of the host had taken effect when it was offered.
    """

    fifo: int
    data: bytes
    floor: int

    @property
    def slot_words(self) -> bytes:
        """What the engine writes of it, from the start of the slot on."""
        return self.data[: QUEUE.slot_size]


@dataclass(slots=True)
class Tally:
    """Figures of what was checked.

    Parameters
    ----------
    to_device, to_driver
        Messages that were delivered, and found to be right.
    interrupts
        Interrupts that came.
    """

    to_device: int = 0
    to_driver: int = 0
    interrupts: int = 0


class Oracle:
    """Knows what must hold.

    Parameters
    ----------
    num_fifos
        FIFOs of the design.
    ram
        What the FIFO BAR holds.
    tally
        Figures to add to.

    Attributes
    ----------
    number
        How many things the host has sent.
    confirmed
        All stores with a lower number have taken effect.
    """

    def __init__(self, num_fifos: int, ram: RamShadow, tally: Tally) -> None:
        self.num_fifos = num_fifos
        self.tally = tally
        self.number = 0
        self.begin(ram)

    def restart(self) -> None:
        """The design was reset with ``rst``: queues are empty, and nothing is under way."""
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
        """All of them."""
        return [*self.driver, *self.device]

    def give_up(self) -> None:
        """A history failed: what is seen from now on is of no use until :meth:`begin`."""
        self.restart()
        self._listens = False

    def begin(self, ram: RamShadow) -> None:
        """Begin anew with this RAM."""
        self.ram = ram
        self.restart()
        self._listens = True

    def sees(self, time_ns: float, kind: int, effect: Callable[[], None]) -> None:
        """Keep what was seen at ``time_ns`` for :meth:`catch_up`."""
        if not self._listens:
            return
        self._order += 1
        heapq.heappush(self._seen, (time_ns, kind, self._order, effect))

    def catch_up(self, before_ns: float = float("inf")) -> None:
        """Take in what was seen before ``before_ns``.

        Raises
        ------
        HostileFailure
            It is not what the endpoint may do.
        """
        while self._seen and self._seen[0][0] < before_ns:
            heapq.heappop(self._seen)[3]()

    def stored(self, offset: int, data: bytes, enables: Iterable[bool]) -> None:
        """The host sent a store to the FIFO BAR, whole dwords from byte ``offset`` on."""
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
        """The host sent a write that rings these FIFOs."""
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
        """The host sent a request; the number is for :meth:`confirm` once it is answered."""
        self.number += 1
        return self.number

    def confirm(self, number: int) -> None:
        """Every store before ``number`` has taken effect."""
        if number > self.confirmed:
            self.confirmed = number
            for queue in self.queues:
                queue.confirm(number)

    def rang(self, fifo: int) -> None:
        """The pulse of a doorbell."""
        if not self._doorbells[fifo]:
            raise HostileFailure(f"doorbell {fifo} rang, and nobody rang it")
        number = self._doorbells[fifo][0]
        self.confirm(number)
        queue = self.driver[fifo]
        stored = self._stored_slots[fifo]
        # The doorbell flushed them: who reads them later finds what was written before.
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
        """The function is being reset, until :meth:`reset_told`."""
        self._was_reset = True
        for queue in self.queues:
            queue.reset()
        self.touched.update(range(self.num_fifos))
        for vector in self.vectors:
            # Those that are on their way may still arrive.
            vector.owed = vector.blocked = False

    def reset_told(self) -> None:
        """The device side knows of the reset: what it sends from now on is of the time after."""
        for queue in self.device:
            queue.reset_told()

    def came_out(self, fifo: int, data: bytes) -> None:
        """A message came out to the device side."""
        if fifo >= self.num_fifos:
            raise HostileFailure(f"a message came out for FIFO {fifo}")
        if len(data) != QUEUE.slot_size:
            raise HostileFailure(f"a message of {len(data)} bytes came out")
        size = self.ram.word_bytes

        def could_be(slot: int) -> bool:
            for number, index in enumerate(self._slot_words(fifo, slot)):
                values = self.ram.possible(index)
                if values is not None and data[number * size : (number + 1) * size] not in values:
                    return False
            return True

        self.touched.add(fifo)
        self.driver[fifo].came_out(could_be, lambda: f"{data.hex()} came out")
        self.tally.to_device += 1

    def offers(self, fifo: int, data: bytes, *, well_formed: bool) -> None:
        """The device side has a packet."""
        self._offered.append(OfferedPacket(fifo, data, self.confirmed))
        if fifo < self.num_fifos:
            self.touched.add(fifo)
            self.device[fifo].offer(well_formed)

    def taken(self) -> None:
        """The engine took the last beat of the oldest packet."""
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
        """``rst`` came: what the engines had begun is written in part, some stores may be lost."""
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
        """The interrupt of a FIFO came."""
        self.tally.interrupts += 1
        self.vectors[fifo].came()

    @property
    def waiting_packets(self) -> int:
        """Packets of the device side that the engine has not taken."""
        return len(self._offered)

    def at_rest(self) -> None:
        """Nothing is under way, nobody stalls, and time has passed.

        Raises
        ------
        HostileFailure
            Something is missing.
        """
        self.catch_up()
        self.confirm(self.number + 1)
        for fifo, numbers in enumerate(self._doorbells):
            if numbers:
                raise HostileFailure(f"doorbell {fifo} was rung {len(numbers)} times in vain")
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
        """At rest, the host read these heads and tails, and ``device_queue_ready`` says so."""
        self.driver[fifo].reads(*driver)
        self.device[fifo].reads(*device, ready)
        self.touched.discard(fifo)

    def check_interrupts(self, pending: int, allowed: Iterable[bool]) -> None:
        """At rest, these pending bits are set, and these vectors may send."""
        for fifo, may_send in enumerate(allowed):
            self.vectors[fifo].check(
                pending >> fifo & 1, may_send=may_send, dropped=self.device[fifo].most_dropped
            )
        if pending >> self.num_fifos:
            raise HostileFailure(f"pending bits of vectors that do not exist: {pending:#x}")

    def check_dropped(self, malformed: int, dropped: int) -> None:
        """At rest, so many packets are counted as malformed, and as dropped."""
        counts = {0}
        for queue in self.device:
            each = {state.dropped for state in queue.states}
            counts = {total + count for total in counts for count in each}
        # One that is on offer in a reset is dropped, whatever it is.
        swapped = self._malformed - malformed if self._was_reset else 0
        if dropped - swapped not in counts or not 0 <= swapped <= self._malformed:
            want = " or ".join(map(str, sorted(counts)))
            raise HostileFailure(
                f"{malformed} packets are counted as malformed, not {self._malformed}, "
                f"and {dropped} as dropped, not {want}"
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
