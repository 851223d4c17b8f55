# SPDX-License-Identifier: BSD-2-Clause
"""Scenarios of drivers and devices: one program for every system.

A scenario is a coroutine over a system with drivers, a device side and a host: the pure model of
``models.system``, or the gateware on a simulator. The messages and their bytes do not depend on
timing, so that the traces of two systems are equal.
"""

import asyncio
import random
from collections import defaultdict

from models.devices import BlockDevice, ConsoleDevice, EntropyDevice, SharedMemory
from models.dma import PAGE
from models.driver import NoDeviceError, QueueError, RingAllocator
from models.drivers import BlockDriver, ConsoleDriver, EntropyDriver
from models.messages import DeviceState, MessageKind
from models.system import ModelSystem
from models.virtio import DeviceStatus, Feature

ENTROPY, CONSOLE, DISK = 0, 9, 31


def devices(num_fifos):
    """Devices of each FIFO, with gaps between their numbers and reproducible data."""

    def of(fifo):
        disk = BlockDevice(sectors=64 + fifo)
        disk.shared_memory[2] = SharedMemory(address=0xF000_0000 + fifo, length=0x2000)
        disk.shared_memory[3] = SharedMemory(address=0x8_0000_0000 + fifo, length=0x1000)
        source = random.Random(fifo).randbytes
        return {
            ENTROPY: EntropyDevice(source=source, queue_size=16),
            CONSOLE: ConsoleDevice(),
            DISK: disk,
        }

    return [of(fifo) for fifo in range(num_fifos)]


async def pure_traces(name, num_fifos, revision, **choices):
    """Messages of each FIFO and direction in scenario ``name`` on the pure model."""
    async with ModelSystem(devices(num_fifos), revision=revision, **choices) as system:
        traces = Traces(system)
        await asyncio.gather(*programs(name, system))
    assert not any(driver.unclaimed for driver in system.drivers)
    return traces.messages


class Traces:
    """Messages of each FIFO and direction, in the order in which the drivers see them."""

    def __init__(self, system):
        self.messages = defaultdict(list)
        system.observe(self._add)

    def _add(self, direction, fifo, raw):
        self.messages[fifo, direction].append(raw.ljust(64, b"\0").hex())


async def bring_up(system, fifo, memory):
    """Find every device, bring it up, read and write its configuration, shut it down."""
    driver = system.drivers[fifo]
    await driver.ping(0xDEADBEEF + fifo)
    assert await driver.discover() == [ENTROPY, CONSOLE, DISK]
    for number in (ENTROPY, CONSOLE, DISK):
        device = await driver.probe(number)
        status = await device.status()
        assert status == 0xF, status
        for index in range(device.info.max_vqs):
            await device.confirm_queue(index)
    assert int.from_bytes(await device.read_config(0, 8), "little") == 64 + fifo

    console = await driver.probe(CONSOLE)
    await console.write_config(8, b"!\0\0\0")
    model = system.device_side.transports[fifo].devices[CONSOLE]
    before = await console.config_generation()
    model.resize(132, 43)
    await system.device_side.transports[fifo].notify_config(CONSOLE)
    event = await console.wait_config(timeout_us=500)
    assert event is not None and event.generation == before + 1
    assert await console.read_config(0, 4) == bytes([132, 0, 43, 0])
    if driver.dialect.has("GET_SHM", MessageKind.REQUEST):
        region = await device.shared_memory(2)
        assert (region.address, region.length) == (0xF000_0000 + fifo, 0x2000)
        region = await device.shared_memory(3)
        if driver.dialect.layout("GET_SHM", MessageKind.RESPONSE).field("address").bits > 32:
            assert (region.address, region.length) == (0x8_0000_0000 + fifo, 0x1000)
        else:
            assert region is None
        assert await device.shared_memory(4) is None
    for shut_device in (device, console):
        await shut_device.shutdown()
        assert await shut_device.status() == DeviceStatus.ACKNOWLEDGE


async def refuse(system, fifo, memory):
    """Send every kind of invalid request and message; the device keeps working."""
    driver, transport = system.drivers[fifo], system.device_side.transports[fifo]
    device = await driver.device(ENTROPY)
    await device.reset()
    await device.add_status(DeviceStatus.ACKNOWLEDGE)
    await device.add_status(DeviceStatus.DRIVER)
    await device.select_features(Feature.VERSION_1.mask | 1 << 17)
    assert not await device.add_status(DeviceStatus.FEATURES_OK) & DeviceStatus.FEATURES_OK
    await device.reset()
    try:
        await driver.probe(ENTROPY, num_queues=3)
        raise AssertionError("there is no queue 1")
    except QueueError:
        assert await device.status() & DeviceStatus.FAILED
    for index in (1, 1023, 1024, 0xFFFF_FFFF):
        assert (await device.queue(index)).max_size == 0
    disk = await driver.device(DISK)
    size = disk.info.config_size
    for offset, length in ((size, 1), (size - 1, 2), (0xFFFF_FFFF, 4), (0, 0)):
        answer = await driver.request("GET_CONFIG", dev_num=DISK, offset=offset, size=length)
        assert answer.number("size") == 0

    # These get no answer: each is dropped, and the device keeps working.
    dropped = sum(transport.drops.values())
    bus = system.buses[fifo]
    for raw in (
        b"\xff" * 64,
        bytes(64),
        b"\x01\x07" + bytes([ENTROPY, 0, 1, 0, 12, 0]) + bytes(56),
        b"\x00\x07" + bytes([ENTROPY + 1, 0, 1, 0, 8, 0]) + bytes(56),
        b"\x00\x41" + bytes([ENTROPY, 0, 0, 0, 16, 0]) + bytes(56),
    ):
        await bus.send(raw)
    assert await device.status() & DeviceStatus.FAILED
    assert sum(transport.drops.values()) == dropped + 5


async def move_data(system, fifo, memory):
    """Move entropy, sectors and console output through virtqueues in host memory."""
    driver = system.drivers[fifo]
    entropy = await EntropyDriver.probe(driver, ENTROPY, memory, queue_size=16)
    assert await entropy.read(600, request_size=256) == random.Random(fifo).randbytes(256) + (
        entropy_after(fifo)
    )
    disk = await BlockDriver.probe(driver, DISK, memory, queue_size=16)
    data = random.Random(100 + fifo).randbytes(1024)
    await disk.write(3, data)
    assert await disk.read(3, 2) == data
    console = await ConsoleDriver.probe(driver, CONSOLE, memory, queue_size=16)
    await console.write(b"to the device")
    model = system.device_side.transports[fifo].devices[CONSOLE]
    assert bytes(model.output) == b"to the device"
    for virtio_driver in (entropy, disk, console):
        virtio_driver.stop()
        await virtio_driver.device.reset()


def entropy_after(fifo):
    """Bytes of the device's source after the first 256, in the request sizes of the scenario."""
    source = random.Random(fifo)
    source.randbytes(256)
    return source.randbytes(256) + source.randbytes(88)


async def overfill(system, fifo, memory):
    """Send more messages each way than a queue holds, back to back."""
    driver = system.drivers[fifo]
    device = await driver.probe(ENTROPY, num_queues=1)
    transport = system.device_side.transports[fifo]
    before = transport.devices[ENTROPY].queues[0].notifications
    for _ in range(70):
        await device.notify(0)
    for number in range(70):
        await transport.notify_config(ENTROPY)
        event = await device.wait_config(timeout_us=500)
        assert event is not None, number
    await device.status()
    assert transport.devices[ENTROPY].queues[0].notifications == before + 70
    await device.reset()


async def come_and_go(system, fifo, memory):
    """Plug and unplug devices; the driver gets an event if the revision has one."""
    driver = system.drivers[fifo]
    has_events = driver.dialect.has("BUS_EVENT_DEVICE", MessageKind.EVENT)
    number = await system.device_side.plug(fifo, EntropyDevice(queue_size=8))
    assert number == 1
    if has_events:
        assert await driver.wait_device(DeviceState.ADDED, 500) == number
    assert await driver.discover() == [ENTROPY, number, CONSOLE, DISK]
    device = await driver.probe(number)
    await system.device_side.unplug(fifo, number)
    if has_events:
        assert await driver.wait_device(DeviceState.REMOVED, 500) == number
        try:
            await device.status()
            raise AssertionError("the device is gone")
        except NoDeviceError:
            pass
    # A number just freed is not reused.
    assert await system.device_side.plug(fifo, EntropyDevice()) == 2
    if has_events:
        assert await driver.wait_device(DeviceState.ADDED, 500) == 2
    assert await driver.discover() == [ENTROPY, 2, CONSOLE, DISK]


SCENARIOS = {
    scenario.__name__: scenario for scenario in (bring_up, refuse, move_data, overfill, come_and_go)
}


def programs(name, system):
    """The scenario for each FIFO, as coroutines to run concurrently."""
    regions = [Region(system.host.memory) for _ in system.drivers]
    for driver, region in zip(system.drivers, regions, strict=True):
        driver.rings = RingAllocator(memory=region)
    return [SCENARIOS[name](system, fifo, region) for fifo, region in enumerate(regions)]


class Region:
    """Host memory of one driver.

    Messages contain addresses, so that concurrent drivers must not allocate from one pool.
    """

    SIZE = 0x4_0000

    def __init__(self, memory):
        self._next = memory.allocate(self.SIZE)
        self._end = self._next + self.SIZE
        self.read, self.write = memory.read, memory.write

    def allocate(self, size, align=PAGE):
        address = -(-self._next // align) * align
        self._next = address + size
        assert self._next <= self._end
        return address
