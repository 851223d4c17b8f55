# SPDX-License-Identifier: BSD-2-Clause
"""Possible states of a device queue, and the slots that the next packet may be written to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from models.layout import QueueLayout

from .errors import HostileFailure
from .state_set import DISCARDED, NO_SLOT, StateSet


class DeviceQueueState(NamedTuple):
    """State of a device queue.

    Parameters
    ----------
    applied
        As :class:`~testbench.hostile.state_set.QueueState`.
    head, tail
        Index words, 32 bits.
    started
        Number of packets that the engine has started.
    slot
        Slot of the packet in progress, :data:`~testbench.hostile.state_set.NO_SLOT` or
        :data:`~testbench.hostile.state_set.DISCARDED`.
    aborted
        Whether the packet in progress will be dropped: head was stored, or the function reset,
        after it started.
    dropped
        Number of well-formed packets that were dropped for this reason.
    """

    applied: int = 0
    head: int = 0
    tail: int = 0
    started: int = 0
    slot: int = NO_SLOT
    aborted: bool = False
    dropped: int = 0


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

    def __init__(self, name: str, layout: QueueLayout) -> None:
        super().__init__(name, layout, DeviceQueueState())
        self.packets: list[bool] = []
        self.accepted = 0
        self.well_formed = 0
        self._in_reset = False

    def _next_states(self, state: DeviceQueueState) -> Iterable[DeviceQueueState]:
        if state.slot == NO_SLOT:
            if state.started < min(len(self.packets), self.accepted + 1):
                started = state._replace(
                    started=state.started + 1, slot=self.index_of(state.head), aborted=False
                )
                if self._has_space(state):
                    yield started
                if self._in_reset:
                    yield started._replace(slot=DISCARDED, aborted=True)
        elif state.started <= self.accepted:
            yield self._finished(state)
        store = self._next_store(state.applied)
        if store is not None:
            after = state._replace(applied=state.applied + 1)
            if store.to_head:
                yield after._replace(head=store.apply(state.head), aborted=state.slot != NO_SLOT)
            else:
                yield after._replace(tail=store.apply(state.tail))

    def _has_space(self, state: DeviceQueueState) -> bool:
        return self.layout.next(self.index_of(state.head)) != self.index_of(state.tail)

    def _finished(self, state: DeviceQueueState) -> DeviceQueueState:
        """The state after the end of the packet in progress."""
        if not self.packets[state.started - 1]:
            return state._replace(slot=NO_SLOT, aborted=False)
        if state.aborted:
            return state._replace(slot=NO_SLOT, aborted=False, dropped=state.dropped + 1)
        return state._replace(slot=NO_SLOT, head=self.layout.next(state.slot))

    def send(self, well_formed: bool) -> None:
        """Record a packet that the device side sends to this queue."""
        self.packets.append(well_formed)

    def accept(self) -> set[int]:
        """Record that the engine accepted the last beat of the oldest packet.

        Returns
        -------
        set of int
            Slots that the packet may be in; includes
            :data:`~testbench.hostile.state_set.DISCARDED` if it may be in none.
        """
        self._keep(
            (
                state
                for state in self._reachable()
                if state.started == self.accepted + 1 and state.slot != NO_SLOT
            ),
            "a packet was accepted without space",
        )
        self.well_formed += self.packets[self.accepted]
        self.accepted += 1
        return {state.slot for state in self.states}

    @property
    def delivered_messages(self) -> int:
        """Number of messages that are certainly in the queue."""
        return self.well_formed - self.max_dropped

    @property
    def max_dropped(self) -> int:
        """Maximum number of well-formed packets that may have been dropped."""
        return max(state.dropped for state in self.states)

    @property
    def may_be_aborted(self) -> bool:
        """Whether the packet accepted last may be dropped."""
        return any(state.aborted for state in self.states)

    @property
    def has_space(self) -> bool:
        """Whether the queue certainly has space for a message."""
        return all(self._has_space(state) for state in self.states)

    def slots_in_progress(self) -> set[int]:
        """Slots that the engine may be writing with a packet that it has not fully accepted."""
        return {
            state.slot
            for state in self._reachable()
            if state.slot >= 0 and state.started > self.accepted
        }

    def reset(self) -> None:
        """Record the start of a function reset: the queue is empty."""
        self._in_reset = True
        self.states = {
            DeviceQueueState(
                applied=state.applied,
                started=state.started,
                slot=state.slot,
                aborted=state.slot != NO_SLOT,
                dropped=state.dropped,
            )
            for state in self._reachable()
        }

    def end_reset(self) -> None:
        """Record the end of the function reset."""
        self.states = self._reachable()
        self._in_reset = False

    def check_quiescent(self, *, oldest: bool) -> None:
        """Check the quiescent state: all stores have taken effect and no packet is in progress.

        Parameters
        ----------
        oldest
            Whether the oldest waiting packet is for this queue.

        Raises
        ------
        HostileFailure
            A packet was neither delivered nor dropped, or waits although the queue has space.
        """
        done = len(self.stores)
        waits = oldest and self.accepted < len(self.packets)
        self._keep(
            (
                state
                for state in self._reachable()
                if state.applied == done
                and state.slot == NO_SLOT
                and state.started == self.accepted
                and not (waits and self._has_space(state))
            ),
            "a packet waits although there is space" if waits else "a packet is still in progress",
        )
        self._compact()

    def check_indices(self, head: int, tail: int, ready: bool) -> None:
        """Check index words read by the host and ``device_queue_ready``, both when quiescent."""
        kept = {state for state in self.states if (state.head, state.tail) == (head, tail)}
        if not kept:
            lost = min(
                (self.index_of(state.head) - self.index_of(head)) % self.layout.capacity
                for state in self.states
            )
            expected = " or ".join(f"{s.head:#x} and {s.tail:#x}" for s in sorted(self.states))
            raise HostileFailure(
                f"{self.name}: head reads {head:#x} and tail {tail:#x}, must be {expected}",
                lost=lost,
            )
        self._keep(
            (state for state in kept if self._has_space(state) == ready),
            f"device_queue_ready is {ready} with head {head:#x} and tail {tail:#x}",
        )
