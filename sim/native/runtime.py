# SPDX-License-Identifier: BSD-2-Clause
"""Tasks, events and time of the native engine: runs coroutines until all wait, then the gateware.

asyncio would poll the operating system between any two steps of the gateware.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterable
from typing import Any

from models import runtime as contract
from testbench.timing import CLOCK_PERIOD_NS


class CancelledError(BaseException):
    """The task is cancelled; raised at the point where it waits."""


class DeadlockError(RuntimeError):
    """All tasks wait, and nothing can happen any more."""


class _Wait:
    """One wait of a task. Whatever ends it first clears ``task``."""

    __slots__ = ("task", "was_set")

    def __init__(self, task: Task) -> None:
        self.task: Task | None = task
        self.was_set = False


class Event:
    """Implements :class:`models.runtime.Event`."""

    __slots__ = ("__weakref__", "_is_set", "_runtime", "_waits")

    def __init__(self, runtime: NativeRuntime) -> None:
        self._runtime = runtime
        self._is_set = False
        self._waits: list[_Wait] = []

    def set(self) -> None:
        """Set the flag."""
        self._is_set = True
        if self._waits:
            waits, self._waits = self._waits, []
            for wait in waits:
                wait.was_set = True
                self._runtime._wake(wait)

    def clear(self) -> None:
        """Clear the flag."""
        self._is_set = False

    def is_set(self) -> bool:
        """Whether the flag is set."""
        return self._is_set

    def wait(self) -> Event:
        """Awaitable that completes when the flag is set."""
        return self

    def __await__(self) -> Generator[None, None, bool]:
        if not self._is_set:
            self._waits.append(self._runtime._begin_wait())
            yield
        return True


class Task:
    """A running coroutine. ``await`` returns its result or raises its exception.

    Attributes
    ----------
    done
        It has ended.
    """

    __slots__ = ("_coroutine", "_error", "_joins", "_result", "_runtime", "_wait", "done")

    def __init__(self, runtime: NativeRuntime, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._runtime = runtime
        self._coroutine = coroutine
        self._wait: _Wait | None = None
        self._joins: list[_Wait] = []
        self._result: Any = None
        self._error: BaseException | None = None
        self.done = False

    def cancel(self) -> None:
        """Raise :class:`CancelledError` in the coroutine where it waits."""
        if not self.done:
            if self._wait is not None:
                self._wait.task = None
            self._runtime._ready.append((self, True))

    def __await__(self) -> Generator[None, None, Any]:
        if not self.done:
            self._joins.append(self._runtime._begin_wait())
            yield
        if self._error is not None:
            raise self._error
        return self._result

    def _step(self, *, cancels: bool) -> None:
        if self.done:
            return
        self._wait = None
        try:
            if cancels:
                self._coroutine.throw(CancelledError())
            else:
                self._coroutine.send(None)
        except StopIteration as end:
            self._end(end.value, None)
        except CancelledError as error:
            # Tasks that wait for this one are told.
            self._end(None, error)
        except BaseException as error:
            # As in cocotb, an error that no other task waits for ends the run.
            if not self._joins:
                raise
            self._end(None, error)

    def _end(self, result: Any, error: BaseException | None) -> None:
        self.done = True
        self._result, self._error = result, error
        for wait in self._joins:
            self._runtime._wake(wait)


class _Yield:
    """Awaitable that lets the other ready tasks run."""

    def __init__(self, runtime: NativeRuntime) -> None:
        self._runtime = runtime

    def __await__(self) -> Generator[None, None, None]:
        self._runtime._wake(self._runtime._begin_wait())
        yield


class NativeRuntime:
    """Implements :class:`testbench.runtime.TimedRuntime`.

    Attributes
    ----------
    cycles
        Clock cycles so far; ``advance`` counts them here.
    advance
        Called when all tasks wait: runs the gateware for a number of cycles at most, ``None`` for
        no limit, until something has happened. Returns whether anything can happen without it.
    """

    def __init__(self) -> None:
        self.cycles = 0
        self.advance: Callable[[int | None], bool] = lambda limit: False
        self._ready: deque[tuple[Task, bool]] = deque()
        self._timers: list[tuple[int, int, _Wait]] = []
        self._numbers = itertools.count()
        self._current: Task | None = None

    @property
    def now_ns(self) -> float:
        """Simulated time, in nanoseconds."""
        return float(self.cycles * CLOCK_PERIOD_NS)

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> Task:
        """As :meth:`models.runtime.Runtime.spawn`; the task can be awaited."""
        task = Task(self, coroutine)
        self._ready.append((task, False))
        return task

    def event(self) -> Event:
        """As :meth:`models.runtime.Runtime.event`."""
        return Event(self)

    async def wait(self, event: contract.Event, timeout_us: float | None = None) -> bool:
        """As :meth:`models.runtime.Runtime.wait`."""
        if event.is_set():
            return True
        if timeout_us is None:
            await event.wait()
            return True
        cycles = math.ceil(timeout_us * 1000 / CLOCK_PERIOD_NS)
        return cycles > 0 and await self.wait_cycles(cycles, event)

    async def wait_cycles(self, cycles: int, event: contract.Event | None = None) -> bool:
        """Wait for ``cycles`` clock cycles, 1 or more, or until ``event`` is set.

        Returns
        -------
        bool
            The event was set in time, even if another task has cleared it since.
        """
        assert event is None or isinstance(event, Event), "the event is of another runtime"
        return await _Timed(self, cycles, event)

    async def yield_now(self) -> None:
        """As :meth:`models.runtime.Runtime.yield_now`."""
        await _Yield(self)

    async def gather(self, coroutines: Iterable[Coroutine[Any, Any, Any]]) -> list[Any]:
        """Run all at once; returns their results in order."""
        return [await task for task in [self.spawn(coroutine) for coroutine in coroutines]]

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run until ``coroutine`` ends; returns its result. Other tasks stay as they are.

        Raises
        ------
        DeadlockError
            All tasks wait, and the gateware does nothing any more.
        """
        main = self.spawn(coroutine)
        # Its error is raised here, not where it occurs.
        main._joins.append(_Wait(main))
        while True:
            self._run_ready()
            if main.done:
                break
            if not self.advance(self._cycles_left()) and not (self._ready or self._timers):
                raise DeadlockError("all tasks wait and the gateware is idle")
            self._expire()
        if main._error is not None:
            raise main._error
        return main._result

    def _run_ready(self) -> None:
        ready = self._ready
        while ready:
            task, cancels = ready.popleft()
            self._current = task
            task._step(cancels=cancels)
        self._current = None

    def _cycles_left(self) -> int | None:
        """Cycles until the first timer, ``None`` without one."""
        timers = self._timers
        while timers and timers[0][2].task is None:
            heapq.heappop(timers)
        return max(timers[0][0] - self.cycles, 0) if timers else None

    def _expire(self) -> None:
        while self._timers and self._timers[0][0] <= self.cycles:
            self._wake(heapq.heappop(self._timers)[2])

    def _begin_wait(self) -> _Wait:
        assert self._current is not None, "only a task of this runtime can wait"
        wait = self._current._wait = _Wait(self._current)
        return wait

    def _wake(self, wait: _Wait) -> None:
        task, wait.task = wait.task, None
        if task is not None:
            self._ready.append((task, False))


class _Timed:
    """Awaitable of :meth:`NativeRuntime.wait_cycles`."""

    def __init__(self, runtime: NativeRuntime, cycles: int, event: Event | None) -> None:
        self._runtime = runtime
        self._cycles = cycles
        self._event = event

    def __await__(self) -> Generator[None, None, bool]:
        runtime, event = self._runtime, self._event
        if event is not None and event._is_set:
            return True
        wait = runtime._begin_wait()
        due = runtime.cycles + self._cycles
        heapq.heappush(runtime._timers, (due, next(runtime._numbers), wait))
        if event is not None:
            event._waits.append(wait)
        yield
        if wait.was_set:
            return True
        if event is None:
            return False
        event._waits.remove(wait)
        return event._is_set
