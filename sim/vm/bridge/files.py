# SPDX-License-Identifier: BSD-2-Clause
"""Waiting for files to be ready, with or without a simulation."""

from __future__ import annotations

import heapq
import itertools
import select
import time
from collections.abc import Callable
from typing import Any, Protocol

CallLater = Callable[[float, Callable[[], None]], None]
"""Calls a function once after a number of seconds, as :meth:`Readiness.call_later`."""


class Readiness(Protocol):
    """Lets a protocol wait for its socket, while the listeners of other files are called."""

    async def readable(self, file: int) -> None:
        """Return when ``file`` can be read, or the other end has closed it."""

    async def writable(self, file: int) -> None:
        """Return when ``file`` can be written, or the other end sends nothing more."""

    def watch(self, file: int, listener: Callable[[], None]) -> None:
        """From now on, while waiting, call ``listener`` whenever ``file`` can be read."""

    def unwatch(self, file: int) -> None:
        """End :meth:`watch`."""

    def call_later(self, delay_s: float, listener: Callable[[], None]) -> None:
        """While waiting, call ``listener`` once, after ``delay_s`` seconds of host time."""

    def poll_listeners(self) -> None:
        """Call the listeners whose files can be read, for use in long work without a wait."""


class BlockingReadiness:
    """Blocks in the operating system. A listener's exception reaches the coroutine that waits."""

    def __init__(self) -> None:
        self._listeners: dict[int, Callable[[], None]] = {}
        self._poll = select.poll()
        # Sorted by time, then by the order of their calls.
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def watch(self, file: int, listener: Callable[[], None]) -> None:
        """As :meth:`Readiness.watch`."""
        self._listeners[file] = listener
        self._poll.register(file, select.POLLIN)

    def unwatch(self, file: int) -> None:
        """As :meth:`Readiness.unwatch`."""
        if self._listeners.pop(file, None) is not None:
            self._poll.unregister(file)

    def call_later(self, delay_s: float, listener: Callable[[], None]) -> None:
        """As :meth:`Readiness.call_later`."""
        timer = (time.monotonic() + delay_s, next(self._order), listener)
        heapq.heappush(self._timers, timer)

    async def readable(self, file: int) -> None:
        """As :meth:`Readiness.readable`."""
        await self._wait(file, select.POLLIN)

    async def writable(self, file: int) -> None:
        """As :meth:`Readiness.writable`."""
        await self._wait(file, select.POLLOUT | select.POLLRDHUP)

    def poll_listeners(self) -> None:
        """As :meth:`Readiness.poll_listeners`."""
        self._call_listeners(self._poll.poll(0))

    async def _wait(self, file: int, events: int) -> None:
        while not self.poll(file, events, None):
            pass

    def poll(self, file: int, events: int, timeout_ms: float | None) -> bool:
        """Wait up to ``timeout_ms``, ``None`` for no limit, and call listeners.

        Returns
        -------
        bool
            Whether ``file`` is ready.
        """
        if self._timers:
            due_ms = max(0.0, 1000 * (self._timers[0][0] - time.monotonic()))
            timeout_ms = due_ms if timeout_ms is None else min(timeout_ms, due_ms)
        self._poll.register(file, events)
        try:
            ready = self._poll.poll(timeout_ms)
        finally:
            self._poll.unregister(file)
        self._call_listeners(ready)
        return any(which == file for which, _ in ready)

    def _call_listeners(self, ready: list[tuple[int, int]]) -> None:
        for which, _ in ready:
            listener = self._listeners.get(which)
            if listener is not None:
                listener()
        while self._timers and self._timers[0][0] <= time.monotonic():
            heapq.heappop(self._timers)[2]()


def is_ready(file: int, events: int) -> bool:
    """Whether one of ``events`` is true of ``file`` now."""
    poll = select.poll()
    poll.register(file, events)
    return bool(poll.poll(0))


def run_alone(coroutine: Any) -> Any:
    """Run a coroutine that only waits for :class:`BlockingReadiness`; returns its result."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise RuntimeError("the coroutine waits for something else than a BlockingReadiness")
