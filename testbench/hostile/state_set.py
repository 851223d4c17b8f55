# SPDX-License-Identifier: BSD-2-Clause
"""Possible states of the queues of a FIFO.

A :class:`StateSet` has one state for every possible order of the host's stores to the index words
and the engine's steps. An observed event removes the states that do not explain it; if none
remains, the endpoint violates the rules. Written from the rules of the queues (``spsc_send`` and
``spsc_recv`` of the patch series, and doorbells that sample head), not from the
gateware.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Generic, NamedTuple, Protocol, Self, TypeVar

from models.layout import QueueLayout

from .errors import HostileFailure

NO_SLOT = -1
"""In place of a slot: no message is in flight."""
DISCARDED = -2
"""In place of a slot: a packet that was valid during a function reset is being discarded."""


class IndexStore(NamedTuple):
    """A store of the host to an index word.

    Parameters
    ----------
    number
        Number in the order of the host's stores, doorbells and requests.
    to_head
        Whether the store is to head rather than to tail.
    data, mask
        32 bits, and their bit enables.
    """

    number: int
    to_head: bool
    data: int
    mask: int

    def apply(self, word: int) -> int:
        """The value of ``word`` after the store."""
        return word & ~self.mask | self.data & self.mask


class QueueState(Protocol):
    """State of a queue."""

    @property
    def applied(self) -> int:
        """Number of stores that have taken effect, of those in :attr:`StateSet.stores`."""

    def _replace(self, *, applied: int) -> Self: ...

    def __lt__(self, other: Any, /) -> bool: ...


StateT = TypeVar("StateT", bound=QueueState)


class StateSet(Generic[StateT]):
    """The possible states of a queue, and the stores that have not taken effect in all of them.

    Parameters
    ----------
    name
        Name for error texts.
    layout
        Layout of the queue.
    state
        Initial state.

    Attributes
    ----------
    states
        The possible states.
    stores
        Stores that have not taken effect in all states, oldest first.
    barrier
        Number of the oldest doorbell without a pulse: no store after it has taken effect. ``None``
        without one.
    """

    def __init__(self, name: str, layout: QueueLayout, state: StateT) -> None:
        self.name = name
        self.layout = layout
        self.states = {state}
        self.stores: list[IndexStore] = []
        self.barrier: int | None = None

    def store(self, store: IndexStore) -> None:
        """Record a store of the host."""
        self.stores.append(store)

    def confirm(self, number: int) -> None:
        """Record that every store before ``number`` has taken effect."""
        due = sum(store.number < number for store in self.stores)
        if not due:
            return
        self._keep(
            (state for state in self._reachable() if state.applied >= due),
            "no possible state after stores",
        )
        self._compact()

    def index_of(self, word: int) -> int:
        """Index of an index word (``spsc_load_index``)."""
        return word % self.layout.capacity

    def _next_states(self, state: StateT) -> Iterable[StateT]:
        """States that follow by one step that is not observable."""
        raise NotImplementedError

    def _next_store(self, applied: int) -> IndexStore | None:
        """The store that may take effect after the first ``applied`` ones."""
        if applied == len(self.stores):
            return None
        store = self.stores[applied]
        return store if self.barrier is None or store.number < self.barrier else None

    def _reachable(self) -> set[StateT]:
        """States that follow by any number of steps that are not observable."""
        reached = set(self.states)
        unexplored = list(reached)
        while unexplored:
            for state in self._next_states(unexplored.pop()):
                if state not in reached:
                    reached.add(state)
                    unexplored.append(state)
        return reached

    def _keep(self, states: Iterable[StateT], problem: str) -> None:
        """Keep ``states``; without any, fail with ``problem``."""
        kept = set(states)
        if not kept:
            before = ", ".join(str(state) for state in sorted(self.states)[:4])
            raise HostileFailure(f"{self.name}: {problem}; states before: {before}")
        self.states = kept

    def _compact(self) -> None:
        """Drop the stores that have taken effect in all states."""
        done = min(state.applied for state in self.states)
        if done:
            del self.stores[:done]
            self.states = {state._replace(applied=state.applied - done) for state in self.states}
