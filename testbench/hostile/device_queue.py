# SPDX-License-Identifier: BSD-2-Clause
"""What a device queue may look like inside, and where the next packet may be written."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from .errors import HostileFailure
from .state_set import GIVEN_UP, NOBODY, QUEUE, StateSet, index_of


class DeviceQueueState(NamedTuple):
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


class DeviceQueueStates(StateSet[DeviceQueueState]):
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
        super().__init__(name, DeviceQueueState())
        self.packets: list[bool] = []
        self.accepted = 0
        self.well_formed = 0
        self._being_reset = False

    def _steps(self, state: DeviceQueueState) -> Iterable[DeviceQueueState]:
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

    def _ended(self, state: DeviceQueueState) -> DeviceQueueState:
        if not self.packets[state.begun - 1]:
            return state._replace(slot=NOBODY, void=False)
        if state.void:
            return state._replace(slot=NOBODY, void=False, dropped=state.dropped + 1)
        return state._replace(slot=NOBODY, head=QUEUE.next(state.slot))

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
            DeviceQueueState(
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
