# SPDX-License-Identifier: BSD-2-Clause
"""Pending used-buffer notifications: at most one per queue, and none is lost."""

import asyncio

import pytest
from model_support import settle

from models.devices import ConsoleDevice, EntropyDevice
from models.layout import SMALL_PAGES
from models.messages import decode
from models.notifier import UsedNotifier
from models.runtime import AsyncioRuntime
from models.system import ModelSystem


class Door:
    """Notifier whose sends wait until ``open`` is set."""

    def __init__(self):
        self.open = asyncio.Event()
        self.passed = []
        self.notifier = UsedNotifier(self._notify, AsyncioRuntime())
        self.task = self.notifier.start()

    async def _notify(self, dev_num, queue):
        await self.open.wait()
        self.passed.append((dev_num, queue))

    async def use(self, *keys):
        for key in keys:
            self.notifier.used(*key)
        await settle()


async def test_completions_of_a_queue_are_coalesced():
    door = Door()
    # The first notification is already being sent and does not cover buffers used from now on.
    await door.use((0, 0))
    await door.use(*[(0, 0)] * 5)
    assert door.passed == [] and door.notifier.coalesced == 4
    door.open.set()
    await settle()
    assert door.passed == [(0, 0), (0, 0)]
    await door.use((0, 0))
    assert door.passed == [(0, 0)] * 3 and door.notifier.coalesced == 4


async def test_queues_are_notified_in_order_of_use():
    door = Door()
    await door.use((3, 1), (0, 0), (3, 0), (3, 1), (0, 0), (3, 0), (1, 0))
    door.open.set()
    await settle()
    # All requests were made before the first notification was dequeued.
    assert door.passed == [(3, 1), (0, 0), (3, 0), (1, 0)]
    assert door.notifier.coalesced == 3


async def test_buffers_used_during_a_send_are_notified():
    door = Door()
    for n in range(50):
        await door.use((0, n % 3))
        if n % 7 == 3:
            door.open.set()
            await settle()
            assert door.passed[-1] in {(0, k) for k in range(3)} and not door.notifier._waiting
            door.open.clear()
    used, told = 50, len(door.passed)
    door.open.set()
    await settle()
    assert used == len(door.passed) + door.notifier.coalesced > told


async def test_pending_notifications_can_be_dropped():
    door = Door()
    await door.use((7, 0))
    await door.use((0, 0), (1, 0), (1, 1), (2, 0), (1, 0))
    door.notifier.forget(1)
    door.open.set()
    await settle()
    assert door.passed == [(7, 0), (0, 0), (2, 0)]
    door.open.clear()
    await door.use((7, 0))
    await door.use((0, 0), (1, 0))
    door.notifier.clear()
    door.open.set()
    await settle()
    assert door.passed == [(7, 0), (0, 0), (2, 0), (7, 0)]
    # The notifier continues.
    await door.use((1, 0))
    assert door.passed[-1] == (1, 0)


async def told_of(system):
    """EVENT_USED messages on the bus of a stopped driver, in order."""
    messages = []
    # Later messages are sent as slots become free.
    while len(messages) < 40:
        receiving = asyncio.ensure_future(system.buses[0].recv())
        await settle(60)
        if not receiving.done():
            receiving.cancel()
            break
        messages.append(decode(receiving.result(), system.drivers[0].dialect))
    return [(m.dev_num, m.vq_index) for m in messages if m.name == "EVENT_USED"]


@pytest.mark.parametrize("queues", [1, 2, 3])
async def test_full_device_queue(queues):
    """While the device queue is full, the completions of each queue become one event."""
    devices = {0: ConsoleDevice(), 1: EntropyDevice()}
    async with ModelSystem([devices], layout=SMALL_PAGES, revision="r1") as system:
        for number in devices:
            await system.drivers[0].probe(number)
        system.drivers[0].stop()
        transport = system.device_side.transports[0]
        # Four messages fill the queue; the fifth waits.
        events = [asyncio.create_task(transport.notify_config(0)) for _ in range(5)]
        await settle()
        assert [event.done() for event in events] == [True] * 4 + [False]
        keys = [(1, 0), (0, 1), (0, 0)][:queues]
        for dev_num, queue in keys * 6:
            devices[dev_num]._link.notify_used(queue)
            await settle(5)
        told = await told_of(system)
        # The first notification was being sent when the others were requested.
        assert told[:queues] == keys and sorted(told[queues:]) == keys[:1]
        assert system.device_side.notifiers[0].coalesced == 6 * queues - queues - 1
        devices[0]._link.notify_used(1)
        assert await told_of(system) == [(0, 1)]


async def test_reused_device_number_gets_no_earlier_notification():
    """Pending notifications of an unplugged device are dropped: the next may have fewer queues."""
    console, entropy = ConsoleDevice(), EntropyDevice()
    async with ModelSystem([{0: console}], layout=SMALL_PAGES, revision="r1") as system:
        side, driver = system.device_side, system.drivers[0]
        await driver.probe(0)
        driver.stop()
        for _ in range(4):
            await side.transports[0].notify_config(0)
        for queue in (0, 1):
            console._link.notify_used(queue)
            await settle()
        unplugging = asyncio.create_task(side.unplug(0, 0))
        await settle()
        plugging = asyncio.create_task(side.plug(0, entropy, 0))
        await settle()
        await driver.start()
        await settle(200)
        await unplugging
        await plugging
        device = await driver.probe(0)
        entropy._link.notify_used(0)
        assert await device.wait_used(0, 1e4) is not None
        assert await device.events.get("EVENT_USED", timeout_us=1e4) is None
