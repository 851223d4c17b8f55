# SPDX-License-Identifier: BSD-2-Clause
"""A bounded queue of events, whose reader may be slower than the simulation."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

Event = dict[str, Any]

MOST_WAITING = 10_000
"""Events in the queue; further ones are counted and dropped."""


class EventChannel:
    """A queue of :data:`MOST_WAITING` events, between threads.

    An event ``omitted`` replaces dropped events and has their number.
    """

    def __init__(self, capacity: int = MOST_WAITING) -> None:
        self._capacity = capacity
        self._events: deque[Event | None] = deque()
        self._dropped = 0
        self._changed = threading.Condition()

    def put(self, event: Event) -> None:
        """Add an event, or drop it if the queue is full."""
        with self._changed:
            if len(self._events) >= self._capacity:
                self._dropped += 1
                return
            self._put_dropped()
            self._events.append(event)
            self._changed.notify()

    def end(self) -> None:
        """Mark the end of the events."""
        with self._changed:
            self._put_dropped()
            self._events.append(None)
            self._changed.notify()

    def get(self) -> Event | None:
        """Wait for the next event; ``None`` at the end, on every call."""
        with self._changed:
            while not self._events:
                self._changed.wait()
            if self._events[0] is None:
                return None
            return self._events.popleft()

    def __iter__(self) -> Iterator[Event]:
        while (event := self.get()) is not None:
            yield event

    def _put_dropped(self) -> None:
        if self._dropped:
            self._events.append({"kind": "omitted", "messages": self._dropped})
            self._dropped = 0
