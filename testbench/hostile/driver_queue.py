# SPDX-License-Identifier: BSD-2-Clause
"""What a driver queue may look like inside, and which message may come out of it next."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from .errors import HostileFailure
from .state_set import NOBODY, QUEUE, StateSet, index_of


class DriverQueueState(NamedTuple):
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


class DriverQueueStates(StateSet[DriverQueueState]):
    """Driver queue: which message may come out next."""

    def __init__(self, name: str) -> None:
        super().__init__(name, DriverQueueState())

    def _steps(self, state: DriverQueueState) -> Iterable[DriverQueueState]:
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
            yield DriverQueueState(applied + 1, head, tail, index_of(tail), slot, slot != NOBODY)

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
            DriverQueueState(state.applied, slot=state.slot, settled=state.slot != NOBODY)
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
        if not kept:
            lost = self._skipped(could_be)
            what = f"{lost} were skipped" if lost else f"it is in none of the slots {sorted(slots)}"
            raise HostileFailure(f"{self.name}: {text()}, and {what}", lost=lost)
        self.states = kept

    def _skipped(self, could_be: Callable[[int], bool]) -> int:
        """How many messages before the next that may have come out; 0 if none may."""
        found = []
        for state in self._reachable():
            first = index_of(state.tail) if state.slot == NOBODY else state.slot
            for number in range((state.snapshot - first) % QUEUE.capacity):
                if could_be((first + number) % QUEUE.capacity):
                    found.append(number)
                    break
        return min(found, default=0)

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
