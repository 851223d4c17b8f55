# SPDX-License-Identifier: BSD-2-Clause
"""What two queues of a FIFO may look like inside, followed through all that can have happened.

Each class keeps a set of states: one for every order in which the host's stores to the index words
can have met the steps of the engine. What is seen from outside removes the states that do not
explain it; where none is left, the endpoint did what it may not. Written from the rules of the
queues (the patch series, ``spsc_send`` and ``spsc_recv``, and doorbells that take a snapshot of
head), not from the gateware.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, NamedTuple, Protocol, TypeVar

from models.layout import SPSC_PAGES

from .errors import HostileFailure

QUEUE = SPSC_PAGES.queue
NOBODY = -1
"""In place of a slot: no message is under way."""
GIVEN_UP = -2
"""Likewise: one that was on offer as the function was reset is being thrown away."""


class IndexStore(NamedTuple):
    """A store of the host to an index word.

    Parameters
    ----------
    number
        Order of all that the host sent.
    head
        Whether to head; otherwise to tail.
    data, mask
        32 bits, and the bits that are enabled.
    """

    number: int
    head: bool
    data: int
    mask: int

    def over(self, old: int) -> int:
        """The word after the store."""
        return old & ~self.mask | self.data & self.mask


def index_of(word: int) -> int:
    """What an index word counts as (``spsc_load_index``)."""
    return word % QUEUE.capacity


class State(Protocol):
    """Of a queue."""

    @property
    def applied(self) -> int:
        """Stores that took effect, of those that :class:`Explanation` keeps."""


StateT = TypeVar("StateT", bound=State)


class Explanation(Generic[StateT]):
    """A set of states, and the stores that are still to take effect in some of them.

    Parameters
    ----------
    name
        For messages.
    state
        The only one at first.

    Attributes
    ----------
    barrier
        Number of the oldest doorbell that was sent and has not rung: no store after it has taken
        effect. ``None`` without one.
    """

    def __init__(self, name: str, state: StateT) -> None:
        self.name = name
        self.states = {state}
        self.stores: list[IndexStore] = []
        self.barrier: int | None = None

    def store(self, store: IndexStore) -> None:
        """The host sent a store."""
        self.stores.append(store)

    def confirm(self, number: int) -> None:
        """Every store before ``number`` has taken effect."""
        due = sum(store.number < number for store in self.stores)
        if not due:
            return
        self._keep(
            (state for state in self._reachable() if state.applied >= due),
            "stores are not explained",
        )
        self._compact()

    def _steps(self, state: StateT) -> Iterable[StateT]:
        """States that follow by what is not seen from outside."""
        raise NotImplementedError

    def _rebase(self, state: StateT, applied: int) -> StateT:
        raise NotImplementedError

    def _next_store(self, applied: int) -> IndexStore | None:
        """The store that may take effect where ``applied`` of them have."""
        if applied == len(self.stores):
            return None
        store = self.stores[applied]
        return store if self.barrier is None or store.number < self.barrier else None

    def _reachable(self) -> set[StateT]:
        found = set(self.states)
        front = list(found)
        while front:
            for after in self._steps(front.pop()):
                if after not in found:
                    found.add(after)
                    front.append(after)
        return found

    def _keep(self, states: Iterable[StateT], text: str | Callable[[], str]) -> None:
        kept = set(states)
        if not kept:
            what = text if isinstance(text, str) else text()
            before = ", ".join(str(state) for state in sorted(self.states)[:4])  # type: ignore[type-var]
            raise HostileFailure(f"{self.name}: {what}; before it was {before}")
        self.states = kept

    def _compact(self) -> None:
        done = min(state.applied for state in self.states)
        if done:
            del self.stores[:done]
            self.states = {self._rebase(state, state.applied - done) for state in self.states}


class DriverState(NamedTuple):
    """Of a driver queue.

    Parameters
    ----------
    applied
        See :class:`State`.
    head, tail
        Index words, 32 bits.
    snapshot
        Head's index when the newest doorbell rang.
    slot
        Of the message that is being read or on offer, :data:`NOBODY` for none.
    settled
        Whether tail has moved over that one, or never will.
    """

    applied: int = 0
    head: int = 0
    tail: int = 0
    snapshot: int = 0
    slot: int = NOBODY
    settled: bool = False

    @property
    def owed(self) -> int:
        """Messages that a doorbell has released and that have not come out."""
        under_way = self.slot != NOBODY
        ahead = (self.snapshot - index_of(self.tail)) % QUEUE.capacity
        return ahead + (under_way and self.settled)


class DriverQueue(Explanation[DriverState]):
    """Driver queue: which message may come out next."""

    def __init__(self, name: str) -> None:
        super().__init__(name, DriverState())

    def _steps(self, state: DriverState) -> Iterable[DriverState]:
        applied, head, tail, snapshot, slot, settled = state
        if slot == NOBODY:
            if index_of(tail) != snapshot:
                yield state._replace(slot=index_of(tail), settled=False)
        elif not settled:
            yield state._replace(tail=QUEUE.next(slot), settled=True)
        store = self._next_store(applied)
        if store is not None and store.head:
            yield state._replace(applied=applied + 1, head=store.over(head))
        elif store is not None:
            # A new life of the queue: what older doorbells allowed is void, and a message that is
            # being read will not move it.
            tail = store.over(tail)
            yield DriverState(applied + 1, head, tail, index_of(tail), slot, slot != NOBODY)

    def _rebase(self, state: DriverState, applied: int) -> DriverState:
        return state._replace(applied=applied)

    def rang(self, number: int) -> None:
        """The doorbell that was sent as ``number`` took its snapshot."""
        due = sum(store.number < number for store in self.stores)
        self._keep(
            (
                state._replace(snapshot=index_of(state.head))
                for state in self._reachable()
                if state.applied == due
            ),
            "a doorbell is not explained",
        )
        self._compact()

    def reset(self) -> None:
        """The function was reset: the queue is empty."""
        self.states = {
            DriverState(state.applied, slot=state.slot, settled=state.slot != NOBODY)
            for state in self._reachable()
        }

    def came_out(self, could_be: Callable[[int], bool], text: Callable[[], str]) -> None:
        """A message came out.

        Parameters
        ----------
        could_be
            Whether it may be what the slot holds.
        text
            What it was, for a message.
        """
        slots: dict[int, bool] = {}
        kept = set()
        for state in self._reachable():
            slot = state.slot
            if slot == NOBODY:
                continue
            if slot not in slots:
                slots[slot] = could_be(slot)
            if slots[slot]:
                tail = state.tail if state.settled else QUEUE.next(slot)
                kept.add(state._replace(tail=tail, slot=NOBODY, settled=False))
        self._keep(kept, lambda: f"{text()}, which is in none of the slots {sorted(slots)}")

    def readable(self, slots: Iterable[int]) -> set[int]:
        """Those of ``slots`` that the engine may be reading, or may before a doorbell rings."""
        found = set()
        for state in self._reachable():
            tail = index_of(state.tail)
            ahead = (state.snapshot - tail) % QUEUE.capacity
            found |= {
                slot
                for slot in slots
                if slot == state.slot or (slot - tail) % QUEUE.capacity < ahead
            }
        return found

    def written_head(self) -> int:
        """Index that the host wrote to head last, if no reset came after it."""
        for store in reversed(self.stores):
            if store.head:
                return index_of(store.over(min(self.states).head))
        return index_of(min(self.states).head)

    def free_slots(self) -> int:
        """How many messages certainly fit, as far as one can tell from what came out."""
        free = QUEUE.capacity - 1
        for state in self.states:
            heads = {state.head, *(store.over(state.head) for store in self.stores if store.head)}
            for head in heads:
                used = (index_of(head) - index_of(state.tail)) % QUEUE.capacity
                free = min(free, QUEUE.capacity - 1 - used)
        return free

    def at_rest(self, *, room: bool) -> None:
        """All stores took effect, the device side takes what it is given, and time has passed.

        Raises
        ------
        HostileFailure
            Messages that were released did not come out.
        """
        done = len(self.stores)
        states = [state for state in self._reachable() if state.applied == done]
        kept = [state for state in states if state.slot == NOBODY and (not room or not state.owed)]
        if not kept:
            lost = min((state.owed for state in states), default=0)
            raise HostileFailure(f"{self.name}: {lost} messages were not delivered", lost=lost)
        self.states = set(kept)
        self._compact()

    def reads(self, head: int, tail: int) -> None:
        """At rest, the host found these index words."""
        self._keep(
            (state for state in self.states if (state.head, state.tail) == (head, tail)),
            f"head reads {head:#x} and tail {tail:#x}",
        )


class DeviceState(NamedTuple):
    """Of a device queue.

    Parameters
    ----------
    applied
        See :class:`State`.
    head, tail
        Index words, 32 bits.
    begun
        Packets that the engine has begun with.
    slot
        Of the packet under way, or :data:`NOBODY` or :data:`GIVEN_UP`.
    void
        Whether that one belongs to a queue that is no more.
    dropped
        Well-formed packets that were dropped because of that.
    """

    applied: int = 0
    head: int = 0
    tail: int = 0
    begun: int = 0
    slot: int = NOBODY
    void: bool = False
    dropped: int = 0

    @property
    def room(self) -> bool:
        """Whether one more message fits."""
        return QUEUE.next(index_of(self.head)) != index_of(self.tail)


class DeviceQueue(Explanation[DeviceState]):
    """Device queue: where the next packet may be written.

    Attributes
    ----------
    packets
        For each packet that was offered, whether it is well-formed.
    accepted
        How many of them the engine took.
    well_formed
        How many of these are well-formed.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name, DeviceState())
        self.packets: list[bool] = []
        self.accepted = 0
        self.well_formed = 0
        self._being_reset = False

    def _steps(self, state: DeviceState) -> Iterable[DeviceState]:
        if state.slot == NOBODY:
            if state.begun < min(len(self.packets), self.accepted + 1):
                begun = state._replace(begun=state.begun + 1, slot=index_of(state.head), void=False)
                if state.room:
                    yield begun
                if self._being_reset:
                    yield begun._replace(slot=GIVEN_UP, void=True)
        elif state.begun <= self.accepted:
            yield self._ended(state)
        store = self._next_store(state.applied)
        if store is not None:
            after = state._replace(applied=state.applied + 1)
            if store.head:
                yield after._replace(head=store.over(state.head), void=state.slot != NOBODY)
            else:
                yield after._replace(tail=store.over(state.tail))

    def _ended(self, state: DeviceState) -> DeviceState:
        if not self.packets[state.begun - 1]:
            return state._replace(slot=NOBODY, void=False)
        if state.void:
            return state._replace(slot=NOBODY, void=False, dropped=state.dropped + 1)
        return state._replace(slot=NOBODY, head=QUEUE.next(state.slot))

    def _rebase(self, state: DeviceState, applied: int) -> DeviceState:
        return state._replace(applied=applied)

    def offer(self, well_formed: bool) -> None:
        """The device side has a packet for this queue."""
        self.packets.append(well_formed)

    def took(self) -> set[int]:
        """The engine took the last beat of the oldest packet.

        Returns
        -------
        set of int
            Slots that it may be in, with :data:`GIVEN_UP` if it may be in none.
        """
        self._keep(
            (
                state
                for state in self._reachable()
                if state.begun == self.accepted + 1 and state.slot != NOBODY
            ),
            "a packet was taken without room",
        )
        self.well_formed += self.packets[self.accepted]
        self.accepted += 1
        return {state.slot for state in self.states}

    @property
    def delivered(self) -> int:
        """Messages that certainly went into the queue."""
        return self.well_formed - self.most_dropped

    @property
    def most_dropped(self) -> int:
        """How many well-formed packets may have been dropped."""
        return max(state.dropped for state in self.states)

    def under_way(self) -> set[int]:
        """Slots that the engine may be writing a packet to that it has not taken whole."""
        return {
            state.slot
            for state in self._reachable()
            if state.slot >= 0 and state.begun > self.accepted
        }

    def reset(self) -> None:
        """The function is being reset: the queue is empty."""
        self._being_reset = True
        self.states = {
            DeviceState(
                applied=state.applied,
                begun=state.begun,
                slot=state.slot,
                void=state.slot != NOBODY,
                dropped=state.dropped,
            )
            for state in self._reachable()
        }

    def reset_told(self) -> None:
        """The reset is over."""
        self.states = self._reachable()
        self._being_reset = False

    def at_rest(self, *, first: bool) -> None:
        """All stores took effect, nothing is under way.

        Parameters
        ----------
        first
            Whether the packet that waits longest is for this queue.

        Raises
        ------
        HostileFailure
            A packet was neither delivered nor dropped, or waits although there is room.
        """
        done = len(self.stores)
        waits = first and self.accepted < len(self.packets)
        self._keep(
            (
                state
                for state in self._reachable()
                if state.applied == done
                and state.slot == NOBODY
                and state.begun == self.accepted
                and not (waits and state.room)
            ),
            "a packet waits although there is room" if waits else "a packet is still under way",
        )
        self._compact()

    def reads(self, head: int, tail: int, ready: bool) -> None:
        """At rest, the host found these index words, and ``device_queue_ready`` says so."""
        expected = {state.head for state in self.states}
        kept = {state for state in self.states if (state.head, state.tail) == (head, tail)}
        if not kept:
            lost = min((index_of(word) - index_of(head)) % QUEUE.capacity for word in expected)
            want = " or ".join(f"{s.head:#x} and {s.tail:#x}" for s in sorted(self.states))
            raise HostileFailure(
                f"{self.name}: head reads {head:#x} and tail {tail:#x}, not {want}",
                lost=lost,
            )
        self._keep(
            (state for state in kept if state.room == ready),
            f"device_queue_ready is {ready} with head {head:#x} and tail {tail:#x}",
        )
