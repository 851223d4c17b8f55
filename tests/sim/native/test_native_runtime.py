# SPDX-License-Identifier: BSD-2-Clause
"""Tasks, events and time of the native engine, on a gateware that only counts cycles."""

import pytest

from models.runtime import Lock, sleep
from sim.native.runtime import CancelledError, DeadlockError, NativeRuntime
from testbench.timing import CLOCK_PERIOD_NS


@pytest.fixture
def runtime():
    """A runtime whose gateware does nothing."""
    runtime = NativeRuntime()

    def advance(limit):
        runtime.cycles += limit or 0
        return False

    runtime.advance = advance
    return runtime


def test_tasks_wait_for_events_and_time(runtime):
    log = []
    event = runtime.event()

    async def waiter(name, timeout_us=None):
        log.append((name, await runtime.wait(event, timeout_us), runtime.cycles))

    async def main():
        for name, timeout_us in (("long", None), ("short", 0.004), ("none", 0)):
            runtime.spawn(waiter(name, timeout_us))
        await sleep(runtime, 0.04)
        assert runtime.now_ns == 40
        event.set()
        assert await runtime.wait(event, 1)
        await runtime.yield_now()
        return "result"

    assert runtime.run(main()) == "result"
    assert log == [("none", False, 0), ("short", False, 1), ("long", True, 10)]


def test_a_wait_that_timed_out_is_not_woken_again(runtime):
    event = runtime.event()

    async def main():
        for _ in range(3):
            assert not await runtime.wait_cycles(5, event)
        assert runtime.cycles == 15
        event.set()
        # Its former waits are gone: they would end this one early.
        await runtime.wait_cycles(7)
        assert runtime.cycles == 22
        assert not event._waits

    runtime.run(main())


def test_an_event_that_is_cleared_at_once_still_wakes(runtime):
    event = runtime.event()
    woken = []

    async def waiter():
        woken.append(await runtime.wait(event, 1.0))

    async def main():
        task = runtime.spawn(waiter())
        await runtime.yield_now()
        event.set()
        event.clear()
        await task

    runtime.run(main())
    assert woken == [True]


def test_results_and_errors_of_tasks(runtime):
    async def number(value):
        await runtime.wait_cycles(10 - value)
        return value

    async def fail():
        await runtime.yield_now()
        raise ValueError("broken")

    async def main():
        assert await runtime.gather(number(value) for value in range(4)) == [0, 1, 2, 3]
        with pytest.raises(ValueError, match="broken"):
            await runtime.spawn(fail())

    runtime.run(main())
    with pytest.raises(ValueError, match="broken"):
        runtime.run(fail())


def test_an_error_that_no_task_waits_for_ends_the_run(runtime):
    async def fail():
        raise ValueError("no task waits")

    async def main():
        runtime.spawn(fail())
        await runtime.wait_cycles(100)

    with pytest.raises(ValueError, match="no task waits"):
        runtime.run(main())


def test_a_cancelled_task_releases_what_it_holds(runtime):
    lock = Lock(runtime)
    log = []

    async def hold(name):
        async with lock:
            log.append(name)
            await runtime.event().wait()

    async def main():
        first, second, third = (runtime.spawn(hold(name)) for name in "abc")
        await runtime.wait_cycles(1)
        second.cancel()
        first.cancel()
        await runtime.wait_cycles(1)
        assert log == ["a", "c"]
        with pytest.raises(CancelledError):
            await first
        third.cancel()
        third.cancel()
        await runtime.wait_cycles(1)
        assert third.done

    runtime.run(main())


def test_a_deadlock_is_reported(runtime):
    async def main():
        await runtime.event().wait()

    with pytest.raises(DeadlockError, match="all tasks wait"):
        runtime.run(main())


def test_time_is_in_nanoseconds(runtime):
    async def main():
        await sleep(runtime, 0.0001)

    runtime.run(main())
    # A wait is never shorter than asked for.
    assert runtime.now_ns == CLOCK_PERIOD_NS
