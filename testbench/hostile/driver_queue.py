# SPDX-License-Identifier: BSD-2-Clause
"""Possible states of a driver queue, and the messages that it may deliver next."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from .errors import HostileFailure
from .state_set import NOBODY, QUEUE, StateSet, index_of


class DriverQueueState(NamedTuple):
    """State of a driver queue.

    Parameters
    ----------
    applied
        As :class:`~testbench.hostile.state_set.State`.
    head, tail
        Index words, 32 bits.
    snapshot
        Index of head at the newest doorbell.
    slot
        Slot of the message in flight, :data:`NOBODY` for none.
    settled
        Whether tail has advanced over the message in flight, or will not: tail was stored, or the
        function reset, in between.
    """

    applied: int = 0
    head: int = 0
    tail: int = 0
    snapshot: int = 0
    slot: int = NOBODY
    settled: bool = False

    @property
    def owed(self) -> int:
        """Number of messages released by a doorbell and not delivered."""
        under_way = self.slot != NOBODY
        ahead = (self.snapshot - index_of(self.tail)) % QUEUE.capacity
        return ahead + (under_way and self.settled)


class DriverQueueStates(StateSet[DriverQueueState]):
    """Possible states of a driver queue."""

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
            # A store to tail restarts the queue: earlier doorbells are cancelled, and a message in
            # flight does not advance tail.
            tail = store.over(tail)
            yield DriverQueueState(applied + 1, head, tail, index_of(tail), slot, slot != NOBODY)

    def rang(self, number: int) -> None:
        """Record that doorbell ``number`` took its snapshot of head."""
        due = sum(store.number < number for store in self.stores)
        self._keep(
            (
                state._replace(snapshot=index_of(state.head))
                for state in self._reachable()
                if state.applied == due
            ),
            "no possible state for a doorbell",
        )
        self._compact()

    def reset(self) -> None:
        """Record a function reset: the queue is empty."""
        self.states = {
            DriverQueueState(state.applied, slot=state.slot, settled=state.slot != NOBODY)
            for state in self._reachable()
        }

    def came_out(self, could_be: Callable[[int], bool], text: Callable[[], str]) -> None:
        """Record a message delivered to the device side.

        Parameters
        ----------
        could_be
            Whether a slot may contain the message.
        text
            Returns a description of the message for errors.
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
        """Minimum number of messages skipped before one that may be the delivered; 0 if none."""
        found = []
        for state in self._reachable():
            first = index_of(state.tail) if state.slot == NOBODY else state.slot
            for number in range((state.snapshot - first) % QUEUE.capacity):
                if could_be((first + number) % QUEUE.capacity):
                    found.append(number)
                    break
        return min(found, default=0)

    def readable(self, slots: Iterable[int]) -> set[int]:
        """Those of ``slots`` that the engine may read before the next doorbell."""
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
        """Index of the host's last store to head, or head itself after a reset."""
        for store in reversed(self.stores):
            if store.head:
                return index_of(store.over(min(self.states).head))
        return index_of(min(self.states).head)

    def free_slots(self) -> int:
        """Number of messages that certainly fit, derived from the delivered messages."""
        free = QUEUE.capacity - 1
        for state in self.states:
            heads = {state.head, *(store.over(state.head) for store in self.stores if store.head)}
            for head in heads:
                used = (index_of(head) - index_of(state.tail)) % QUEUE.capacity
                free = min(free, QUEUE.capacity - 1 - used)
        return free

    def at_rest(self, *, room: bool) -> None:
        """Check the quiescent state: all stores have taken effect and no message is in flight.

        Parameters
        ----------
        room
            Whether the released messages must have been delivered: the device queue has space.

        Raises
        ------
        HostileFailure
            Released messages were not delivered.
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
        """Check index words read by the host when quiescent."""
        self._keep(
            (state for state in self.states if (state.head, state.tail) == (head, tail)),
            f"head reads {head:#x} and tail {tail:#x}",
        )
