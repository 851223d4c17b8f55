# SPDX-License-Identifier: BSD-2-Clause
"""After a reset of a queue, a device or the function, no earlier access or message follows."""

import asyncio

import pytest
from model_support import settle

from models.bus import Direction
from models.config_space import BUS_MASTER_ENABLE, COMMAND, MEMORY_SPACE_ENABLE
from models.devices import ConsoleDevice, EntropyDevice
from models.driver import RingAllocator
from models.drivers import EntropyDriver
from models.messages import REVISIONS, decode
from models.system import ModelSystem
from models.virtio import Feature
from models.virtqueue import Buffer, DriverVirtqueue


def received_names(system):
    """Names of all later messages to the driver, in order."""
    names = []

    def add(direction, fifo, raw):
        if direction is Direction.TO_DRIVER:
            message = decode(raw, system.drivers[0].dialect)
            if message.name != "BUS_PING":
                names.append(message.role)

    system.observe(add)
    return names


@pytest.mark.parametrize("revision", REVISIONS)
@pytest.mark.parametrize("reset", ["device", "queue"])
async def test_reset_drops_pending_used_notification(reset, revision):
    device = EntropyDevice(source=bytes, features=Feature.RING_RESET.mask)
    async with ModelSystem([{0: device}], revision=revision, timeout_us=1e6) as system:
        driver, memory = system.drivers[0], system.host.memory
        arena = RingAllocator(max_size=4, memory=memory)
        dev = await driver.probe(0, features=Feature.RING_RESET.mask, rings=arena)
        queue = DriverVirtqueue(memory, dev.rings[0])
        # Block the notifier, as a full device queue does.
        gate = asyncio.Event()
        notifier = system.device_side.notifiers[0]
        send = notifier._notify

        async def wait(dev_num, index):
            await gate.wait()
            await send(dev_num, index)

        notifier._notify = wait
        # This notification is blocked in the sender; the next one is pending behind it.
        notifier.request(7, 0)
        await settle(20)
        await queue.add((), [Buffer(memory.allocate(16), 16)])
        await dev.notify(0)
        await settle(200)
        assert device.bytes_written == 16
        names = received_names(system)
        if reset == "device":
            await dev.reset()
        else:
            await dev.reset_queue(0)
        if reset == "device":
            await dev.bring_up(rings=arena)
        else:
            await dev.set_up_queue(0, arena)
        gate.set()
        await settle(200)
        assert "EVENT_USED" not in names
        # The new queue still notifies.
        queue = DriverVirtqueue(memory, dev.rings[0])
        await queue.add((), [Buffer(memory.allocate(16), 16)])
        await dev.notify(0)
        assert await dev.wait_used(0, 1e5) is not None


async def test_reset_drops_events_in_the_driver():
    """Events that the driver has received but not consumed are dropped as well."""
    device = ConsoleDevice()
    async with ModelSystem([{0: device}]) as system:
        transport = system.device_side.transports[0]
        dev = await system.drivers[0].probe(0)
        await transport.notify_used(0, 1)
        await transport.notify_config(0)
        await settle(50)
        assert len(dev.events) == 2
        await dev.reset()
        assert len(dev.events) == 0
        await dev.bring_up(rings=system.drivers[0].rings)
        assert await dev.wait_used(1, 1000) is None


async def test_function_reset_ends_accesses_and_messages():
    device = EntropyDevice(source=bytes)
    for turns in range(0, 40, 3):
        async with ModelSystem([{0: device}]) as system:
            memory = system.host.memory
            entropy = await EntropyDriver.probe(system.drivers[0], 0, memory, timeout_us=1e6)
            await entropy.submit(0, (), [Buffer(memory.allocate(64), 64)])
            for _ in range(turns):
                await asyncio.sleep(0)
            names = received_names(system)
            ring = entropy.device.rings[0]
            system.endpoint.function_reset()
            enable = MEMORY_SPACE_ENABLE.mask | BUS_MASTER_ENABLE.mask
            system.endpoint.config_write(COMMAND, enable)
            before = memory.load(ring.device_addr, 12)
            await settle(200)
            assert memory.load(ring.device_addr, 12) == before and names == []
