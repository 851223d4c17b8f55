# SPDX-License-Identifier: BSD-2-Clause
"""Interface of driver and device to the scheduler of their coroutines.

``asyncio.Event`` and ``cocotb.triggers.Event`` both satisfy :class:`Event`. A simulator supplies
its own :class:`Runtime`; everything else uses :class:`AsyncioRuntime`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from types import TracebackType
from typing import Any, Protocol


class Event(Protocol):
    """Flag that coroutines can wait for. ``set`` wakes all of them."""

    def set(self) -> None:
        """Set the flag."""

    def clear(self) -> None:
        """Clear the flag. Coroutines that ``set`` has woken stay awake."""

    def is_set(self) -> bool:
        """Whether the flag is set."""

    def wait(self) -> Awaitable[object]:
        """Awaitable that completes when the flag is set, immediately if it already is."""


class Task(Protocol):
    """Running coroutine."""

    def cancel(self) -> object:
        """Stop the coroutine at its next await."""


class Runtime(Protocol):
    """Spawning, events and time."""

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> Task:
        """Run ``coroutine`` concurrently with the caller."""

    def event(self) -> Event:
        """Create an event that is not set."""

    async def wait(self, event: Event, timeout_us: float | None = None) -> bool:
        """Wait until ``event`` is set or ``timeout_us`` microseconds have passed.

        ``None`` waits without limit. In a simulation, time is simulated time.

        Returns
        -------
        bool
            The event was set in time.
        """

    async def yield_now(self) -> None:
        """Let all other ready coroutines run. No time passes."""


class AsyncioRuntime:
    """Runtime over asyncio, for use inside a running event loop.

    Time is the time of the loop; in :mod:`models.virtual_time` it does not depend on the machine.
    """

    def __init__(self) -> None:
        # asyncio keeps only weak references to tasks.
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> Task:
        """Implement :meth:`Runtime.spawn`."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def event(self) -> Event:
        """Implement :meth:`Runtime.event`."""
        return asyncio.Event()

    async def wait(self, event: Event, timeout_us: float | None = None) -> bool:
        """Implement :meth:`Runtime.wait`."""
        if event.is_set():
            return True
        try:
            async with asyncio.timeout(None if timeout_us is None else timeout_us * 1e-6):
                await event.wait()
        except TimeoutError:
            return event.is_set()
        return True

    async def yield_now(self) -> None:
        """Implement :meth:`Runtime.yield_now`."""
        await asyncio.sleep(0)


class Lock:
    """Fair mutual exclusion of coroutines, in the order of their calls: ``async with lock:``."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        # The first event is the holder's; the others are those of the waiters, in order.
        self._queue: list[Event] = []

    async def __aenter__(self) -> None:
        entry = self._runtime.event()
        self._queue.append(entry)
        if self._queue[0] is not entry:
            try:
                await entry.wait()
            except BaseException:
                self._release(entry)
                raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._release(self._queue[0])

    def _release(self, entry: Event) -> None:
        was_holder = self._queue[0] is entry
        self._queue.remove(entry)
        if was_holder and self._queue:
            self._queue[0].set()


async def sleep(runtime: Runtime, time_us: float) -> None:
    """Let ``time_us`` microseconds pass."""
    await runtime.wait(runtime.event(), time_us)
