# SPDX-License-Identifier: BSD-2-Clause
"""What driver and device need of whatever schedules their coroutines.

``asyncio.Event`` and ``cocotb.triggers.Event`` both satisfy :class:`Event`; a simulator supplies a
:class:`Runtime` of its own, :class:`AsyncioRuntime` serves everything else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from types import TracebackType
from typing import Any, Protocol


class Event(Protocol):
    """A flag that coroutines can wait for. ``set`` wakes all of them."""

    def set(self) -> None:
        """Set the flag."""

    def clear(self) -> None:
        """Clear the flag; whoever ``set`` woke stays awake."""

    def is_set(self) -> bool:
        """Whether the flag is set."""

    def wait(self) -> Awaitable[object]:
        """Something to await until the flag is set; at once if it is."""


class Task(Protocol):
    """A running coroutine."""

    def cancel(self) -> object:
        """Stop it at its next await."""


class Runtime(Protocol):
    """Spawning, events and time."""

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> Task:
        """Run ``coroutine`` beside the caller."""

    def event(self) -> Event:
        """A new event, not set."""

    async def wait(self, event: Event, timeout_us: float | None = None) -> bool:
        """Wait until ``event`` is set: True; False when ``timeout_us`` microseconds went first.

        ``None`` waits without end. In a simulation the time is simulated time.
        """

    async def yield_now(self) -> None:
        """Let every other coroutine that is ready run; no time passes."""


class AsyncioRuntime:
    """The runtime of asyncio; use it inside a running event loop.

    Time is that of the loop: that of :mod:`models.virtual_time` does not depend on the machine.
    """

    def __init__(self) -> None:
        # asyncio itself keeps only a weak reference to a task.
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> Task:
        """As :meth:`Runtime.spawn`."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def event(self) -> Event:
        """As :meth:`Runtime.event`."""
        return asyncio.Event()

    async def wait(self, event: Event, timeout_us: float | None = None) -> bool:
        """As :meth:`Runtime.wait`."""
        if event.is_set():
            return True
        try:
            async with asyncio.timeout(None if timeout_us is None else timeout_us * 1e-6):
                await event.wait()
        except TimeoutError:
            return event.is_set()
        return True

    async def yield_now(self) -> None:
        """As :meth:`Runtime.yield_now`."""
        await asyncio.sleep(0)


class Lock:
    """Mutual exclusion of coroutines, in the order of their calls: ``async with lock: ...``."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        # Who is in, then those who wait.
        self._turns: list[Event] = []

    async def __aenter__(self) -> None:
        turn = self._runtime.event()
        self._turns.append(turn)
        if self._turns[0] is not turn:
            try:
                await turn.wait()
            except BaseException:
                self._leave(turn)
                raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave(self._turns[0])

    def _leave(self, turn: Event) -> None:
        was_in = self._turns[0] is turn
        self._turns.remove(turn)
        if was_in and self._turns:
            self._turns[0].set()


async def sleep(runtime: Runtime, time_us: float) -> None:
    """Let ``time_us`` microseconds pass."""
    await runtime.wait(runtime.event(), time_us)
