# SPDX-License-Identifier: BSD-2-Clause
"""Waiting for files to be ready, beside a simulation or without one."""

from __future__ import annotations

import heapq
import itertools
import select
import time
from collections.abc import Callable
from typing import Any, Protocol


class Readiness(Protocol):
    """How a protocol waits for its socket, while others get what is theirs."""

    async def readable(self, file: int) -> None:
        """Return when ``file`` can be read, or the other end has closed it."""

    async def writable(self, file: int) -> None:
        """Return when ``file`` can be written, or the other end sends nothing more."""

    def watch(self, file: int, listener: Callable[[], None]) -> None:
        """From now on, while waiting, call ``listener`` whenever ``file`` can be read."""

    def forget(self, file: int) -> None:
        """End :meth:`watch`."""

    def remind(self, delay_s: float, listener: Callable[[], None]) -> None:
        """While waiting, call ``listener`` once, ``delay_s`` seconds of the host's from now."""

    def glance(self) -> None:
        """Call the listeners whose files can be read: where much is done without waiting."""


class BlockingReadiness:
    """Waits as the operating system does. An exception of a listener's goes to who waits."""

    def __init__(self) -> None:
        self._listeners: dict[int, Callable[[], None]] = {}
        self._poll = select.poll()
        # By time, and in their order where that is the same.
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
        """Wait up to ``timeout_ms``, ``None`` without end, and call listeners.

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
    """Run a coroutine that waits for nothing but :class:`BlockingReadiness`; give its result."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise RuntimeError("the coroutine waits for something that nobody brings")
