# SPDX-License-Identifier: BSD-2-Clause
"""Teardown: restarts and closing leak no tasks, memory or callbacks."""

import gc

import pytest
from model_support import settle

from models.bus import FifoDriverBus
from models.devices import BlockDevice, ConsoleDevice, EntropyDevice, NetworkDevice
from models.dma import free
from models.driver import Driver
from models.drivers import BlockDriver, ConsoleDriver, EntropyDriver, NetworkDriver
from models.host_memory import MemoryAccessError, MemoryModel
from models.system import ModelSystem
from models.virtio import RING_FEATURES

KINDS = {
    BlockDriver: BlockDevice,
    ConsoleDriver: ConsoleDevice,
    EntropyDriver: EntropyDevice,
    NetworkDriver: NetworkDevice,
}


async def use(path):
    if isinstance(path, BlockDriver):
        await path.read(0, 8)
    elif isinstance(path, ConsoleDriver):
        await path.write(b"line\n")
    elif isinstance(path, EntropyDriver):
        await path.read(100)
    else:
        await path.send(bytes(60))


def resource_counts(system):
    """Numbers of resources that a leak would increase."""
    driver, side = system.drivers[0], system.device_side
    device = side.transports[0].devices[0]
    return {
        "subscribers": len(driver._subscribers),
        "callbacks": len(driver.event_callbacks),
        "pending": len(driver._pending),
        "memory": len(system.host.memory._blocks),
        "services": len(device._services) + len(device._ended),
        "tasks": len(system.runtime._tasks),
        "interrupts": sum(map(len, system.host._interrupts._events.values())),
    }


@pytest.mark.parametrize("ring_features", [0, RING_FEATURES])
@pytest.mark.parametrize("kind", KINDS)
async def test_restarts_leak_nothing(kind, ring_features):
    async with ModelSystem([{0: KINDS[kind]()}]) as system:
        path = await kind.probe(
            system.drivers[0], 0, system.host.memory, ring_features=ring_features
        )
        counts = []
        for _ in range(8):
            path = await path.restart()
            await use(path)
            await settle(20)
            counts.append(resource_counts(system))
        assert counts[1] == counts[-1], (counts[1], counts[-1])
        assert counts[-1]["subscribers"] == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_close_releases_everything(kind):
    async with ModelSystem([{0: KINDS[kind]()}]) as system:
        await settle(5)
        before = resource_counts(system)
        path = await kind.probe(system.drivers[0], 0, system.host.memory)
        await use(path)
        await path.close()
        await settle(20)
        assert resource_counts(system) == before


async def test_unused_remote_device_unsubscribes():
    async with ModelSystem([{0: EntropyDevice()}]) as system:
        for _ in range(20):
            await system.drivers[0].device(0)
        gc.collect()
        assert not system.drivers[0]._subscribers


async def test_requests_leak_no_memory():
    async with ModelSystem([{0: BlockDevice(sectors=64), 1: NetworkDevice()}]) as system:
        memory = system.host.memory
        disk = await BlockDriver.probe(system.drivers[0], 0, memory)
        card = await NetworkDriver.probe(system.drivers[0], 1, memory)
        blocks = []
        for number in range(200):
            await disk.write(number % 64, bytes(512))
            await disk.read(number % 64, 1)
            await card.send(bytes(60))
            blocks.append(len(memory._blocks))
        # Indirect tables stay allocated with their descriptors, so the first requests add some.
        assert blocks[50] == blocks[-1]


async def test_discarded_bus_releases_its_event():
    async with ModelSystem([{0: EntropyDevice(source=bytes)}]) as system:
        system.drivers[0].stop()
        for _ in range(10):
            bus = FifoDriverBus(system.host, 0, system.runtime)
            async with Driver(bus, system.runtime) as driver:
                await driver.ping(1)
        del bus, driver
        await settle(5)
        gc.collect()
        system.host.interrupt(0)
        assert len(system.host._interrupts._events[0]) <= 2


def test_access_to_freed_memory_fails():
    memory = MemoryModel()
    first, second = memory.allocate(64), memory.allocate(64)
    free(memory, first)
    with pytest.raises(MemoryAccessError):
        memory.load(first, 1)
    assert memory.load(second, 64) == bytes(64)
    for address in (first, second + 1, 0):
        with pytest.raises(MemoryAccessError, match="must be that of an allocation"):
            memory.free(address)
