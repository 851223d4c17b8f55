# SPDX-License-Identifier: BSD-2-Clause
"""Possible states of a device queue, and the slots that the next packet may be written to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from .errors import HostileFailure
from .state_set import GIVEN_UP, NOBODY, QUEUE, StateSet, index_of


class DeviceQueueState(NamedTuple):
    """State of a device queue.

    Parameters
    ----------
    applied
        As :class:`~testbench.hostile.state_set.State`.
    head, tail
        Index words, 32 bits.
    begun
        Packets that the engine has started.
    slot
        Slot of the packet in progress, :data:`NOBODY` or :data:`GIVEN_UP`.
    void
        Whether the packet in progress will be dropped: head was stored, or the function reset,
        after it started.
    dropped
        Well-formed packets that were dropped for this reason.
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
        """Whether the queue has space for a message."""
        return QUEUE.next(index_of(self.head)) != index_of(self.tail)


class DeviceQueueStates(StateSet[DeviceQueueState]):
    """Possible states of a device queue.

    Attributes
    ----------
    packets
        Whether each packet sent to this queue is well-formed.
    accepted
        Number of packets that the engine has accepted.
    well_formed
        Number of accepted packets that are well-formed.
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
        """Record a packet that the device side sends to this queue."""
        self.packets.append(well_formed)

    def took(self) -> set[int]:
        """Record that the engine accepted the last beat of the oldest packet.

        Returns
        -------
        set of int
            Slots that the packet may be in; includes :data:`GIVEN_UP` if it may be in none.
        """
        self._keep(
            (
                state
                for state in self._reachable()
                if state.begun == self.accepted + 1 and state.slot != NOBODY
            ),
            "a packet was accepted without space",
        )
        self.well_formed += self.packets[self.accepted]
        self.accepted += 1
        return {state.slot for state in self.states}

    @property
    def delivered(self) -> int:
        """Number of messages that are certainly in the queue."""
        return self.well_formed - self.most_dropped

    @property
    def most_dropped(self) -> int:
        """Maximum number of well-formed packets that may have been dropped."""
        return max(state.dropped for state in self.states)

    def under_way(self) -> set[int]:
        """Slots that the engine may be writing with a packet that it has not fully accepted."""
        return {
            state.slot
            for state in self._reachable()
            if state.slot >= 0 and state.begun > self.accepted
        }

    def reset(self) -> None:
        """Record the start of a function reset: the queue is empty."""
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
        """Record the end of the function reset."""
        self.states = self._reachable()
        self._being_reset = False

    def at_rest(self, *, first: bool) -> None:
        """Check the quiescent state: all stores have taken effect and no packet is in progress.

        Parameters
        ----------
        first
            Whether the oldest waiting packet is for this queue.

        Raises
        ------
        HostileFailure
            A packet was neither delivered nor dropped, or waits although the queue has space.
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
            "a packet waits although there is space" if waits else "a packet is still in progress",
        )
        self._compact()

    def reads(self, head: int, tail: int, ready: bool) -> None:
        """Check index words read by the host and ``device_queue_ready``, both when quiescent."""
        expected = {state.head for state in self.states}
        kept = {state for state in self.states if (state.head, state.tail) == (head, tail)}
        if not kept:
            lost = min((index_of(word) - index_of(head)) % QUEUE.capacity for word in expected)
            want = " or ".join(f"{s.head:#x} and {s.tail:#x}" for s in sorted(self.states))
            raise HostileFailure(
                f"{self.name}: head reads {head:#x} and tail {tail:#x}, must be {want}",
                lost=lost,
            )
        self._keep(
            (state for state in kept if state.room == ready),
            f"device_queue_ready is {ready} with head {head:#x} and tail {tail:#x}",
        )
