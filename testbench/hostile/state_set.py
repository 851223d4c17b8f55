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
from typing import Any, Generic, NamedTuple, Protocol, Self, TypeVar

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
        """Stores that took effect, of those that :class:`StateSet` keeps."""

    def _replace(self, *, applied: int) -> Self: ...

    def __lt__(self, other: Any, /) -> bool: ...


StateT = TypeVar("StateT", bound=State)


class StateSet(Generic[StateT]):
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
            before = ", ".join(str(state) for state in sorted(self.states)[:4])
            raise HostileFailure(f"{self.name}: {what}; before it was {before}")
        self.states = kept

    def _compact(self) -> None:
        done = min(state.applied for state in self.states)
        if done:
            del self.stores[:done]
            self.states = {state._replace(applied=state.applied - done) for state in self.states}
