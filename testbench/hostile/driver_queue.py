# SPDX-License-Identifier: BSD-2-Clause
"""Possible states of a driver queue, and the messages that it may deliver next."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from models.layout import QueueLayout

from .errors import HostileFailure
from .state_set import NO_SLOT, StateSet


class DriverQueueState(NamedTuple):
    """State of a driver queue.

    Parameters
    ----------
    applied
        As :class:`~testbench.hostile.state_set.QueueState`.
    head, tail
        Index words, 32 bits.
    doorbell_head
        Index of head at the newest doorbell.
    slot
        Slot of the message in flight, :data:`~testbench.hostile.state_set.NO_SLOT` for none.
    tail_done
        Whether tail has advanced over the message in flight, or will not: tail was stored, or the
        function reset, in between.
    """

    applied: int = 0
    head: int = 0
    tail: int = 0
    doorbell_head: int = 0
    slot: int = NO_SLOT
    tail_done: bool = False


class DriverQueueStates(StateSet[DriverQueueState]):
    """Possible states of a driver queue."""

    def __init__(self, name: str, layout: QueueLayout) -> None:
        super().__init__(name, layout, DriverQueueState())

    def _next_states(self, state: DriverQueueState) -> Iterable[DriverQueueState]:
        applied, head, tail, doorbell_head, slot, tail_done = state
        if slot == NO_SLOT:
            if self.index_of(tail) != doorbell_head:
                yield state._replace(slot=self.index_of(tail), tail_done=False)
        elif not tail_done:
            yield state._replace(tail=self.layout.next(slot), tail_done=True)
        store = self._next_store(applied)
        if store is not None and store.to_head:
            yield state._replace(applied=applied + 1, head=store.apply(head))
        elif store is not None:
            # A store to tail restarts the queue: earlier doorbells are cancelled, and a message in
            # flight does not advance tail.
            tail = store.apply(tail)
            yield DriverQueueState(
                applied + 1, head, tail, self.index_of(tail), slot, slot != NO_SLOT
            )

    def _undelivered(self, state: DriverQueueState) -> int:
        """Number of messages released by a doorbell and not delivered."""
        in_flight = state.slot != NO_SLOT
        released = (state.doorbell_head - self.index_of(state.tail)) % self.layout.capacity
        return released + (in_flight and state.tail_done)

    def doorbell(self, number: int) -> None:
        """Record that doorbell ``number`` sampled head."""
        due = sum(store.number < number for store in self.stores)
        self._keep(
            (
                state._replace(doorbell_head=self.index_of(state.head))
                for state in self._reachable()
                if state.applied == due
            ),
            "no possible state for a doorbell",
        )
        self._compact()

    def reset(self) -> None:
        """Record a function reset: the queue is empty."""
        self.states = {
            DriverQueueState(state.applied, slot=state.slot, tail_done=state.slot != NO_SLOT)
            for state in self._reachable()
        }

    def delivered(self, matches: Callable[[int], bool], message: str) -> None:
        """Record a message delivered to the device side.

        Parameters
        ----------
        matches
            Whether a slot may contain the message.
        message
            The message, for error texts.
        """
        matching: dict[int, bool] = {}
        kept = set()
        for state in self._reachable():
            slot = state.slot
            if slot == NO_SLOT:
                continue
            if slot not in matching:
                matching[slot] = matches(slot)
            if matching[slot]:
                tail = state.tail if state.tail_done else self.layout.next(slot)
                kept.add(state._replace(tail=tail, slot=NO_SLOT, tail_done=False))
        if not kept:
            lost = self._skipped(matches)
            problem = (
                f"{lost} were skipped" if lost else f"it is in none of the slots {sorted(matching)}"
            )
            raise HostileFailure(f"{self.name}: {message} was delivered, and {problem}", lost=lost)
        self.states = kept

    def _skipped(self, matches: Callable[[int], bool]) -> int:
        """Minimum number of messages skipped before a matching one; 0 if none matches."""
        skipped = []
        for state in self._reachable():
            first = self.index_of(state.tail) if state.slot == NO_SLOT else state.slot
            for number in range((state.doorbell_head - first) % self.layout.capacity):
                if matches((first + number) % self.layout.capacity):
                    skipped.append(number)
                    break
        return min(skipped, default=0)

    def readable(self, slots: Iterable[int]) -> set[int]:
        """Those of ``slots`` that the engine may read before the next doorbell."""
        readable = set()
        for state in self._reachable():
            tail = self.index_of(state.tail)
            released = (state.doorbell_head - tail) % self.layout.capacity
            readable |= {
                slot
                for slot in slots
                if slot == state.slot or (slot - tail) % self.layout.capacity < released
            }
        return readable

    def written_head(self) -> int:
        """Index of the host's last store to head, or head itself after a reset."""
        for store in reversed(self.stores):
            if store.to_head:
                return self.index_of(store.apply(min(self.states).head))
        return self.index_of(min(self.states).head)

    def free_slots(self) -> int:
        """Number of messages that certainly fit, derived from the delivered messages."""
        free = self.layout.capacity - 1
        for state in self.states:
            heads = {
                state.head,
                *(store.apply(state.head) for store in self.stores if store.to_head),
            }
            for head in heads:
                used = (self.index_of(head) - self.index_of(state.tail)) % self.layout.capacity
                free = min(free, self.layout.capacity - 1 - used)
        return free

    def check_quiescent(self, *, must_deliver: bool) -> None:
        """Check the quiescent state: all stores have taken effect and no message is in flight.

        Parameters
        ----------
        must_deliver
            Whether all released messages must have been delivered.

        Raises
        ------
        HostileFailure
            Released messages were not delivered.
        """
        done = len(self.stores)
        states = [state for state in self._reachable() if state.applied == done]
        kept = [
            state
            for state in states
            if state.slot == NO_SLOT and not (must_deliver and self._undelivered(state))
        ]
        if not kept:
            lost = min((self._undelivered(state) for state in states), default=0)
            raise HostileFailure(f"{self.name}: {lost} messages were not delivered", lost=lost)
        self.states = set(kept)
        self._compact()

    def check_indices(self, head: int, tail: int) -> None:
        """Check index words read by the host when quiescent."""
        self._keep(
            (state for state in self.states if (state.head, state.tail) == (head, tail)),
            f"head reads {head:#x} and tail {tail:#x}",
        )
