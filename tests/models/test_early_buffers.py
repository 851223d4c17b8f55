# SPDX-License-Identifier: BSD-2-Clause
"""Buffers available before the service of a queue starts are used without a notification."""

import pytest
from model_support import settle

from models.devices import BlockDevice, ConsoleDevice, EntropyDevice, NetworkDevice
from models.devices.block import REQUEST
from models.devices.network import HEADER, RECEIVE, TRANSMIT
from models.driver import RingAllocator
from models.messages import REVISIONS
from models.system import ModelSystem
from models.virtio import DeviceStatus, Feature
from models.virtqueue import Buffer, DriverVirtqueue

DEVICES = {
    "entropy": (lambda: EntropyDevice(source=bytes), 0),
    "block": (lambda: BlockDevice(sectors=8), 0),
    "console input": (ConsoleDevice, 0),
    "console output": (ConsoleDevice, 1),
    "received frames": (NetworkDevice, RECEIVE),
    "sent frames": (NetworkDevice, TRANSMIT),
}


def chain(memory, name):
    """Buffers of a request that the device can serve immediately."""
    base = memory.allocate(2048)
    if name == "block":
        memory.store(base, REQUEST.pack(0, 0, 0))
        return [Buffer(base, 16)], [Buffer(base + 512, 512), Buffer(base + 1024, 1)]
    if name in ("console output", "sent frames"):
        return [Buffer(base, HEADER.size + 60)], []
    return [], [Buffer(base, 1600)]


def give_input(device, name):
    if name == "console input":
        device.type(b"login: ")
    elif name == "received frames":
        device.deliver(bytes(60))


async def set_up(system, name, *, enable):
    """Bring the device up to FEATURES_OK with its queues, optionally with a chain in one."""
    index, memory = DEVICES[name][1], system.host.memory
    arena = RingAllocator(max_size=4, memory=memory)
    dev = await system.drivers[0].device(0)
    await dev.reset()
    await dev.add_status(DeviceStatus.ACKNOWLEDGE)
    await dev.add_status(DeviceStatus.DRIVER)
    await dev.negotiate(Feature.RING_RESET.mask)
    for other in range(dev.info.max_vqs):
        await dev.set_up_queue(other, arena)
    if enable:
        await DriverVirtqueue(memory, dev.rings[index]).add(*chain(memory, name))
    return dev, index, arena


@pytest.mark.parametrize("revision", REVISIONS)
@pytest.mark.parametrize("name", DEVICES)
async def test_driver_ok_serves_available_buffers(name, revision):
    device = DEVICES[name][0]()
    async with ModelSystem([{0: device}], revision=revision) as system:
        dev, index, _ = await set_up(system, name, enable=True)
        give_input(device, name)
        await settle(100)
        assert await dev.wait_used(index, 100) is None
        await dev.add_status(DeviceStatus.DRIVER_OK)
        assert await dev.wait_used(index, 1e5) is not None
        assert device.queues[index].notifications == 0


@pytest.mark.parametrize("revision", REVISIONS)
@pytest.mark.parametrize("name", DEVICES)
async def test_queue_that_is_enabled_later_is_served(name, revision):
    device = DEVICES[name][0]()
    device.offered |= Feature.RING_RESET.mask
    async with ModelSystem([{0: device}], revision=revision) as system:
        dev, index, arena = await set_up(system, name, enable=False)
        await dev.add_status(DeviceStatus.DRIVER_OK)
        await dev.reset_queue(index)
        give_input(device, name)
        memory = system.host.memory
        ring = arena.allocate(4)
        await DriverVirtqueue(memory, ring).add(*chain(memory, name))
        assert await dev.wait_used(index, 1e3) is None
        await dev.set_queue(index, ring)
        assert await dev.wait_used(index, 1e5) is not None


@pytest.mark.parametrize("name", DEVICES)
async def test_empty_queue_outside_memory_does_not_fail(name):
    """The initial read of the available index may fail: an unused queue need not have memory."""
    device = DEVICES[name][0]()
    async with ModelSystem([{0: device}]) as system:
        dev = await system.drivers[0].probe(0, rings=RingAllocator(0x7000_0000))
        await settle(50)
        assert device.failure is None and await dev.status() == 0xF


async def test_driver_ok_serves_the_buffer_of_a_dropped_notification():
    """A notification before DRIVER_OK is dropped (D-21), but its buffer is served later."""
    device = EntropyDevice(source=bytes)
    async with ModelSystem([{0: device}]) as system:
        dev, _, _ = await set_up(system, "entropy", enable=True)
        await system.drivers[0].notify(
            "EVENT_AVAIL", dev_num=0, index=0, next_offset=0, next_wrap=0
        )
        await settle(50)
        assert device.bytes_written == 0
        await dev.add_status(DeviceStatus.DRIVER_OK)
        assert await dev.wait_used(0, 1e5) is not None and device.bytes_written == 1600
