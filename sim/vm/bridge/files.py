# SPDX-License-Identifier: BSD-2-Clause
"""Waiting for files to be ready, with or without a simulation."""

from __future__ import annotations

import heapq
import itertools
import select
import time
from collections.abc import Callable
from typing import Any, Protocol


class Readiness(Protocol):
    """Lets a protocol wait for its socket, while the listeners of other files are called."""

    async def readable(self, file: int) -> None:
        """Return when ``file`` can be read, or the other end has closed it."""

    async def writable(self, file: int) -> None:
        """Return when ``file`` can be written, or the other end sends nothing more."""

    def watch(self, file: int, listener: Callable[[], None]) -> None:
        """From now on, while waiting, call ``listener`` whenever ``file`` can be read."""

    def forget(self, file: int) -> None:
        """End :meth:`watch`."""

    def remind(self, delay_s: float, listener: Callable[[], None]) -> None:
        """While waiting, call ``listener`` once, after ``delay_s`` seconds of host time."""

    def glance(self) -> None:
        """Call the listeners whose files can be read, for use in long work without a wait."""


class BlockingReadiness:
    """Blocks in the operating system. A listener's exception reaches the coroutine that waits."""

    def __init__(self) -> None:
        self._listeners: dict[int, Callable[[], None]] = {}
        self._poll = select.poll()
        # Sorted by time, then by the order of their calls.
        self._reminders: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def watch(self, file: int, listener: Callable[[], None]) -> None:
        """As :meth:`Readiness.watch`."""
        self._listeners[file] = listener
        self._poll.register(file, select.POLLIN)

    def forget(self, file: int) -> None:
        """As :meth:`Readiness.forget`."""
        if self._listeners.pop(file, None) is not None:
            self._poll.unregister(file)

    def remind(self, delay_s: float, listener: Callable[[], None]) -> None:
        """As :meth:`Readiness.remind`."""
        reminder = (time.monotonic() + delay_s, next(self._order), listener)
        heapq.heappush(self._reminders, reminder)

    async def readable(self, file: int) -> None:
        """As :meth:`Readiness.readable`."""
        await self._wait(file, select.POLLIN)

    async def writable(self, file: int) -> None:
        """As :meth:`Readiness.writable`."""
        await self._wait(file, select.POLLOUT | select.POLLRDHUP)

    def glance(self) -> None:
        """As :meth:`Readiness.glance`."""
        self._call(self._poll.poll(0))

    async def _wait(self, file: int, events: int) -> None:
        while not self.look(file, events, None):
            pass

    def look(self, file: int, events: int, timeout_ms: float | None) -> bool:
        """Wait up to ``timeout_ms``, ``None`` for no limit, and call listeners.

        Returns
        -------
        bool
            Whether ``file`` is ready.
        """
        if self._reminders:
            left_ms = max(0.0, 1000 * (self._reminders[0][0] - time.monotonic()))
            timeout_ms = left_ms if timeout_ms is None else min(timeout_ms, left_ms)
        self._poll.register(file, events)
        try:
            ready = self._poll.poll(timeout_ms)
        finally:
            self._poll.unregister(file)
        self._call(ready)
        return any(which == file for which, _ in ready)

    def _call(self, ready: list[tuple[int, int]]) -> None:
        for which, _ in ready:
            listener = self._listeners.get(which)
            if listener is not None:
                listener()
        while self._reminders and self._reminders[0][0] <= time.monotonic():
            heapq.heappop(self._reminders)[2]()


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
