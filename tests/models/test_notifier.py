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


class BlockedNotifier:
    """Notifier whose sends wait until ``open`` is set."""

    def __init__(self):
        self.open = asyncio.Event()
        self.sent = []
        self.notifier = UsedNotifier(self._notify, AsyncioRuntime())
        self.task = self.notifier.start()

    async def _notify(self, dev_num, queue):
        await self.open.wait()
        self.sent.append((dev_num, queue))

    async def use(self, *keys):
        for key in keys:
            self.notifier.request(*key)
        await settle()


async def test_completions_of_a_queue_are_coalesced():
    blocked = BlockedNotifier()
    # The first notification is already being sent and does not cover buffers used from now on.
    await blocked.use((0, 0))
    await blocked.use(*[(0, 0)] * 5)
    assert blocked.sent == [] and blocked.notifier.coalesced == 4
    blocked.open.set()
    await settle()
    assert blocked.sent == [(0, 0), (0, 0)]
    await blocked.use((0, 0))
    assert blocked.sent == [(0, 0)] * 3 and blocked.notifier.coalesced == 4


async def test_queues_are_notified_in_order_of_use():
    blocked = BlockedNotifier()
    await blocked.use((3, 1), (0, 0), (3, 0), (3, 1), (0, 0), (3, 0), (1, 0))
    blocked.open.set()
    await settle()
    # All requests were made before the first notification was dequeued.
    assert blocked.sent == [(3, 1), (0, 0), (3, 0), (1, 0)]
    assert blocked.notifier.coalesced == 3


async def test_buffers_used_during_a_send_are_notified():
    blocked = BlockedNotifier()
    for n in range(50):
        await blocked.use((0, n % 3))
        if n % 7 == 3:
            blocked.open.set()
            await settle()
            assert blocked.sent[-1] in {(0, k) for k in range(3)} and not blocked.notifier._pending
            blocked.open.clear()
    used, already_sent = 50, len(blocked.sent)
    blocked.open.set()
    await settle()
    assert used == len(blocked.sent) + blocked.notifier.coalesced > already_sent


async def test_pending_notifications_can_be_dropped():
    blocked = BlockedNotifier()
    await blocked.use((7, 0))
    await blocked.use((0, 0), (1, 0), (1, 1), (2, 0), (1, 0))
    blocked.notifier.cancel(1)
    blocked.open.set()
    await settle()
    assert blocked.sent == [(7, 0), (0, 0), (2, 0)]
    blocked.open.clear()
    await blocked.use((7, 0))
    await blocked.use((0, 0), (1, 0))
    blocked.notifier.clear()
    blocked.open.set()
    await settle()
    assert blocked.sent == [(7, 0), (0, 0), (2, 0), (7, 0)]
    # The notifier continues.
    await blocked.use((1, 0))
    assert blocked.sent[-1] == (1, 0)


async def used_events(system):
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
        notified = await used_events(system)
        # The first notification was being sent when the others were requested.
        assert notified[:queues] == keys and sorted(notified[queues:]) == keys[:1]
        assert system.device_side.notifiers[0].coalesced == 6 * queues - queues - 1
        devices[0]._link.notify_used(1)
        assert await used_events(system) == [(0, 1)]


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
