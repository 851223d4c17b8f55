# SPDX-License-Identifier: BSD-2-Clause
"""Waiting, locking, event inboxes and virtual time."""

import asyncio
import time

from model_support import settle

from models import virtual_time
from models.driver import EventInbox
from models.messages import event
from models.runtime import AsyncioRuntime, Lock, sleep


async def test_wait_returns_whether_the_event_was_set():
    runtime = AsyncioRuntime()
    flag = runtime.event()
    assert not await runtime.wait(flag, 100)
    flag.set()
    assert await runtime.wait(flag, 0)
    assert await runtime.wait(flag)
    flag.clear()
    runtime.spawn(_set_later(runtime, flag))
    assert await runtime.wait(flag, 1e6)


async def _set_later(runtime, flag):
    await sleep(runtime, 100)
    flag.set()


async def test_lock_admits_one_at_a_time():
    runtime = AsyncioRuntime()
    lock, inside, most = Lock(runtime), 0, 0

    async def work():
        nonlocal inside, most
        async with lock:
            inside += 1
            most = max(most, inside)
            await settle(2)
            inside -= 1

    await asyncio.gather(*(work() for _ in range(5)))
    assert most == 1


async def test_lock_is_fair_and_skips_cancelled_waiters():
    lock, order = Lock(AsyncioRuntime()), []

    async def work(number):
        async with lock:
            order.append(number)
            await settle(2)

    async with lock:
        tasks = []
        for number in range(5):
            tasks.append(asyncio.create_task(work(number)))
            await settle()
        tasks[0].cancel()
        tasks[2].cancel()
        await settle()
    # Cancel the first waiter just as it gets the lock.
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert order == [3, 4]


async def test_lock_is_released_by_an_error_and_by_a_cancelled_waiter():
    lock = Lock(AsyncioRuntime())
    try:
        async with lock:
            waiter = asyncio.create_task(_hold(lock))
            await settle()
            waiter.cancel()
            await settle()
            raise KeyError
    except KeyError:
        pass
    async with lock:
        pass


async def _hold(lock):
    async with lock:
        pass


def used(index, dev_num=0):
    return event("EVENT_USED", dev_num=dev_num, index=index)


async def test_inbox_returns_the_oldest_match():
    queue = EventInbox(AsyncioRuntime())
    config = event("EVENT_CONFIG", status=0, generation=0, offset=0, size=0)
    for message in (used(0), config, used(1), used(0)):
        queue.put(message)
    assert await queue.get("EVENT_USED", index=1) == used(1)
    assert await queue.get("EVENT_CONFIG") == config
    assert await queue.get() == used(0)
    assert await queue.get("EVENT_USED", index=5, timeout_us=100) is None
    assert len(queue) == 1


async def test_inbox_wakes_waiters_and_drops_the_oldest():
    queue = EventInbox(AsyncioRuntime(), depth=2)
    waiting = asyncio.create_task(queue.get("EVENT_USED", index=1))
    await settle()
    queue.put(used(0))
    await settle()
    assert not waiting.done()
    queue.put(used(1))
    assert await waiting == used(1)
    queue.put(used(2))
    queue.put(used(3))
    assert queue.lost == 1
    assert [(await queue.get()).index for _ in range(2)] == [2, 3]


async def test_wait_returns_true_if_another_waiter_cleared_the_event():
    runtime = AsyncioRuntime()
    flag = runtime.event()

    async def wait_and_clear():
        came = await runtime.wait(flag, 1000)
        flag.clear()
        return came

    runtime.spawn(_set_later(runtime, flag))
    assert await asyncio.gather(wait_and_clear(), wait_and_clear()) == [True, True]


async def test_inbox_serves_several_waiters():
    """An event wakes its waiter, and waiters for other events continue to wait."""
    queue = EventInbox(AsyncioRuntime())
    waiting = [
        asyncio.create_task(queue.get("EVENT_USED", index=index, timeout_us=1000))
        for index in range(3)
    ]
    await settle()
    for index in (1, 2, 0):
        queue.put(used(index))
        await settle()
    assert await asyncio.gather(*waiting) == [used(index) for index in range(3)]
    assert len(queue) == 0


def test_virtual_time_advances_only_when_no_task_can_run():
    """Work takes no virtual time, and an hour of waiting takes no real time."""
    runtime = AsyncioRuntime()
    order = []

    async def wait(name, time_us):
        await sleep(runtime, time_us)
        order.append(name)

    async def run():
        loop = asyncio.get_running_loop()
        waits = [asyncio.create_task(wait(name, us)) for name, us in (("b", 200), ("a", 100))]
        time.sleep(0.01)
        assert loop.time() == 0
        flag = runtime.event()
        runtime.spawn(_set_later(runtime, flag))
        assert not await runtime.wait(flag, 99)
        await asyncio.gather(*waits)
        assert await runtime.wait(runtime.event(), 3600e6) is False
        return loop.time()

    began = time.monotonic()
    passed = virtual_time.run(run())
    assert order == ["a", "b"]
    assert abs(passed - 3600.0002) < 1e-6
    assert time.monotonic() - began < 60
