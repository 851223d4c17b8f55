# SPDX-License-Identifier: BSD-2-Clause
"""Invalid rings, inaccessible memory, and resets during accesses."""

import asyncio
import random

import pytest
from model_support import settle

from models.config_space import BUS_MASTER_ENABLE, COMMAND, MEMORY_SPACE_ENABLE
from models.devices import BlockDevice, ConsoleDevice, EntropyDevice, NetworkDevice
from models.devices.block import SECTOR
from models.dma import DmaError
from models.driver import DriverError
from models.drivers import BlockDriver, ConsoleDriver, DataPathError, EntropyDriver, NetworkDriver
from models.system import ModelSystem
from models.virtio import RING_FEATURES, DeviceStatus, Feature
from models.virtqueue import Buffer, DescriptorError, VirtqueueError

SHORT = {"timeout_us": 2000.0}
PATIENT = {"timeout_us": 1e6}
NEXT, WRITE, INDIRECT = 1, 2, 4


async def corrupt(driver, descriptor, *, index=0):
    """Make ``descriptor`` (addr, len, flags, next) available and notify the device."""
    ring, memory = driver.device.rings[index], driver.memory
    address, size, flags, following = descriptor
    raw = b"".join(
        value.to_bytes(width, "little")
        for value, width in ((address, 8), (size, 4), (flags, 2), (following, 2))
    )
    await memory.write(ring.descriptor_addr, raw)
    await memory.write(ring.driver_addr + 2, b"\1\0\0\0")
    await driver.device.notify(index)


@pytest.mark.parametrize(
    ("descriptor", "text"),
    [
        ((0x1000_0000, 16, WRITE | NEXT, 0), "must end within 8 descriptors"),
        ((0x1000_0000, 16, WRITE | NEXT, 8), "next is 8, must be below 8"),
        ((0x1000_0000, 0, WRITE, 0), "len is 0, must be 1 or more"),
        (((1 << 64) - 4, 16, WRITE, 0), "must end within 64 bits"),
        ((0x1000_0000, 16, INDIRECT | NEXT, 0), "INDIRECT and NEXT"),
        ((0x1000_0000, 17, INDIRECT, 0), "must be a multiple of 16 up to 128"),
        ((0x1000_0000, 144, INDIRECT, 0), "must be a multiple of 16 up to 128"),
    ],
)
async def test_invalid_ring_sets_needs_reset(descriptor, text):
    device = EntropyDevice()
    async with ModelSystem([{0: device, 1: EntropyDevice()}]) as system:
        memory = system.host.memory
        entropy = await EntropyDriver.probe(system.drivers[0], 0, memory, queue_size=8, **SHORT)
        await corrupt(entropy, descriptor)
        event = await entropy.device.wait_config(1e5)
        assert event.status & DeviceStatus.NEEDS_RESET
        assert isinstance(device.failure, VirtqueueError) and text in str(device.failure)
        # Its queues stop until it is reset, and other devices still work.
        with pytest.raises(DriverError):
            await entropy.read(4)
        other = await EntropyDriver.probe(system.drivers[0], 1, memory)
        assert len(await other.read(100)) == 100
        again = await EntropyDriver.probe(system.drivers[0], 0, memory)
        assert len(await again.read(100)) == 100 and device.failure is None


@pytest.mark.parametrize(
    ("readable", "writable", "text"),
    [
        (15, 1, "request has 15 readable bytes: must be 16 or more"),
        (16, 0, "request has 0 writable bytes: must be 1 or more"),
    ],
)
async def test_block_request_without_header_or_status_fails(readable, writable, text):
    device = BlockDevice()
    async with ModelSystem([{0: device}]) as system:
        disk = await BlockDriver.probe(system.drivers[0], 0, system.host.memory, **PATIENT)
        address = system.host.memory.allocate(64)
        writes = [Buffer(address + 32, writable)] if writable else []
        buffers = [Buffer(address, readable)], writes
        await disk.submit(0, *buffers)
        assert (await disk.device.wait_config(5e6)).status & DeviceStatus.NEEDS_RESET
        assert isinstance(device.failure, DescriptorError) and text in str(device.failure)
        assert (await disk.device.status()) & DeviceStatus.NEEDS_RESET


async def test_bus_mastering_off():
    device = EntropyDevice()
    async with ModelSystem([{0: device}]) as system:
        memory = system.host.memory
        entropy = await EntropyDriver.probe(system.drivers[0], 0, memory, **PATIENT)
        assert len(await entropy.read(10)) == 10
        system.endpoint.config_write(COMMAND, MEMORY_SPACE_ENABLE.mask)
        with pytest.raises(DmaError, match="bus mastering is off"):
            await system.dma.write(0x1000_0000, b"x")
        reading = asyncio.create_task(entropy.read(10))
        while device.failure is None:
            await asyncio.sleep(0)
        assert isinstance(device.failure, DmaError) and not reading.done()
        reading.cancel()
        enable = MEMORY_SPACE_ENABLE.mask | BUS_MASTER_ENABLE.mask
        system.endpoint.config_write(COMMAND, enable)
        again = await EntropyDriver.probe(system.drivers[0], 0, memory)
        assert len(await again.read(10)) == 10


async def test_ring_outside_memory_sets_needs_reset():
    device = EntropyDevice()
    async with ModelSystem([{0: device}]) as system:
        entropy = await EntropyDriver.probe(system.drivers[0], 0, system.host.memory)
        await entropy.device.bring_up(features=RING_FEATURES, rings=_OutsideMemory())
        await entropy.device.notify(0)
        assert (await entropy.device.wait_config(1e5)).status & DeviceStatus.NEEDS_RESET
        assert isinstance(device.failure, DmaError) and "must lie in one allocation" in str(
            device.failure
        )


class _OutsideMemory:
    def allocate(self, max_size):
        from models.driver import Ring

        return Ring(
            size=8, descriptor_addr=0x9000, driver_addr=0xA000, device_addr=0xFFFF_FFFF_FFFF_F000
        )


class CountedDma:
    """Host memory of the devices that counts accesses and those in flight."""

    def __init__(self, dma):
        self._dma = dma
        self.accesses = 0
        self.in_flight = 0

    async def read(self, address, size):
        return await self._count(self._dma.read(address, size))

    async def write(self, address, data):
        await self._count(self._dma.write(address, data))

    async def _count(self, access):
        self.accesses += 1
        self.in_flight += 1
        try:
            return await access
        finally:
            self.in_flight -= 1


def watch(system):
    watched = CountedDma(system.dma)
    for transport in system.device_side.transports:
        for device in transport.devices.values():
            device._link.dma = watched
    return watched


async def test_no_access_after_a_reset():
    """Once a reset is answered, no access is in flight and none starts."""
    device = BlockDevice(sectors=256)
    for round_ in range(12):
        async with ModelSystem([{0: device}], dma_latency_us=40.0) as system:
            watched = watch(system)
            disk = await BlockDriver.probe(system.drivers[0], 0, system.host.memory, **PATIENT)
            tasks = [asyncio.create_task(disk.read(8 * n, 8)) for n in range(8)]
            await asyncio.sleep(0.0002 * round_)
            await disk.device.reset()
            assert watched.in_flight == 0
            before = watched.accesses
            for task in tasks:
                task.cancel()
            await asyncio.sleep(0.001)
            assert watched.accesses == before
            assert device.status == 0
            disk.stop()
            again = await BlockDriver.probe(system.drivers[0], 0, system.host.memory, **PATIENT)
            assert await again.read(0, 8) == bytes(8 * SECTOR)


async def test_queue_reset_ends_that_queue_only():
    device = NetworkDevice()
    device.offered |= Feature.RING_RESET.mask
    sent = []
    device._wire = lambda frame: sent.append(frame) or []
    async with ModelSystem([{0: device}], dma_latency_us=20.0) as system:
        watched = watch(system)
        features = RING_FEATURES | Feature.RING_RESET.mask
        network = await NetworkDriver.probe(
            system.drivers[0], 0, system.host.memory, ring_features=features, **PATIENT
        )
        for _ in range(4):
            device.deliver(bytes(1000))
        await network.device.reset_queue(0)
        assert watched.in_flight == 0 and not device.queues[0].enabled
        await network.send(bytes(60))
        assert len(sent) == 1 and device.queues[1].enabled


async def test_function_reset_during_accesses():
    """A function-level reset ends all accesses; the device can then be brought up again."""
    rng = random.Random(1)
    device = BlockDevice(sectors=64)
    async with ModelSystem([{0: device, 1: ConsoleDevice()}], dma_latency_us=30.0) as system:
        watched = watch(system)
        memory = system.host.memory
        disk = await BlockDriver.probe(system.drivers[0], 0, memory, **PATIENT)
        for _ in range(6):
            tasks = [asyncio.create_task(disk.read(n, 4)) for n in range(6)]
            await asyncio.sleep(rng.random() * 0.001)
            disk.stop()
            system.endpoint.function_reset()
            for task in tasks:
                task.cancel()
            await asyncio.sleep(0.0005)
            await settle()
            before = watched.accesses
            assert device.status == 0 and watched.in_flight == 0
            await asyncio.sleep(0.0005)
            assert watched.accesses == before
            for driver in system.drivers:
                driver.stop()
            system.host.enable()
            for driver in system.drivers:
                await driver.start()
            disk = await BlockDriver.probe(system.drivers[0], 0, memory, **PATIENT)
            assert await disk.read(0, 2) == bytes(2 * SECTOR)


async def test_invalid_used_ring_fails_the_data_path():
    """An invalid used ring fails pending and later transfers with a named error."""
    for used in (b"\0\0\1\0\7\0\0\0\0\0\0\0", b"\0\0\1\0\0\0\0\0\xff\xff\0\0", b"\0\0\x50\0"):
        device = EntropyDevice()
        async with ModelSystem([{0: device}]) as system:
            memory = system.host.memory
            entropy = await EntropyDriver.probe(system.drivers[0], 0, memory, **PATIENT)
            device._link = None
            reading = asyncio.create_task(entropy.read(16))
            await asyncio.sleep(0.0005)
            await system.host.memory.write(entropy.device.rings[0].device_addr, used)
            await system.device_side.transports[0].notify_used(0, 0)
            with pytest.raises(DataPathError, match="used"):
                await reading
            with pytest.raises(DataPathError):
                await entropy.read(1)


async def test_slow_memory_does_not_block_messages():
    """While a device waits for host memory, it and other devices still answer requests."""
    slow, quick = BlockDevice(sectors=64), ConsoleDevice()
    async with ModelSystem([{0: slow, 1: quick}]) as system:
        disk = await BlockDriver.probe(system.drivers[0], 0, system.host.memory, **PATIENT)
        slow._link.dma = memory = BlockedDma(system.dma)
        reading = asyncio.create_task(disk.read(0, 1))
        while not memory.in_flight:
            await asyncio.sleep(0)
        for _ in range(20):
            assert await disk.device.status() == 0xF
            await system.drivers[0].device_info(1)
        assert memory.in_flight == 1 and not reading.done()
        memory.gate.set()
        assert await reading == bytes(SECTOR)


async def test_console_keeps_input_over_a_reset():
    device = ConsoleDevice()
    async with ModelSystem([{0: device}]) as system:
        await ConsoleDriver.probe(system.drivers[0], 0, system.host.memory)
        await system.drivers[0].request("SET_DEVICE_STATUS", dev_num=0, status=0)
        device.type(b"meanwhile\n")
        assert device.waiting == 10
        console = await ConsoleDriver.probe(system.drivers[0], 0, system.host.memory)
        assert await console.read_line() == b"meanwhile\n"


async def test_failed_queue_stops_the_other_queues():
    device = ConsoleDevice()
    async with ModelSystem([{0: device}]) as system:
        watched = watch(system)
        memory = system.host.memory
        console = await ConsoleDriver.probe(system.drivers[0], 0, memory, queue_size=8)
        device.type(b"in order\n")
        assert await console.read_line() == b"in order\n"
        await corrupt(console, (0x1000_0000, 0, 0, 0), index=1)
        assert (await console.device.wait_config(1e5)).status & DeviceStatus.NEEDS_RESET
        before = watched.accesses
        device.type(b"too late\n")
        await asyncio.sleep(0.001)
        assert watched.accesses == before and device.waiting == 9


async def test_no_access_before_driver_ok():
    device = ConsoleDevice()
    async with ModelSystem([{0: device}]) as system:
        watched = watch(system)
        driver = system.drivers[0]
        handle = await driver.device(0)
        await handle.reset()
        for bits in (DeviceStatus.ACKNOWLEDGE, DeviceStatus.DRIVER):
            await handle.add_status(bits)
        await handle.negotiate()
        for index in range(2):
            await handle.set_up_queue(index, driver.rings)
        device.type(b"not yet")
        await asyncio.sleep(0.001)
        assert watched.accesses == 0 and device.waiting == 7


async def test_failure_ends_accesses_of_other_queues():
    device = ConsoleDevice()
    async with ModelSystem([{0: device}], dma_latency_us=300.0) as system:
        watched = watch(system)
        memory = system.host.memory
        console = await ConsoleDriver.probe(system.drivers[0], 0, memory, **PATIENT)
        device.type(bytes(4 * 256))
        await corrupt(console, (0x1000_0000, 0, 0, 0), index=1)
        event = await console.device.wait_config(1e6)
        assert event is not None and event.status & DeviceStatus.NEEDS_RESET
        before = watched.accesses
        await asyncio.sleep(0.01)
        assert watched.accesses == before and device.waiting > 0


@pytest.mark.parametrize(
    ("source", "failure"),
    [
        (lambda size: bytes(size + 1), "source returned 17 bytes: must be 1 to 16"),
        (lambda size: b"", "source returned 0 bytes: must be 1 to 16"),
        (lambda size: 1 // 0, "division"),
    ],
)
async def test_failing_source_sets_needs_reset(source, failure):
    device = EntropyDevice(source=source)
    async with ModelSystem([{0: device}]) as system:
        memory = system.host.memory
        entropy = await EntropyDriver.probe(system.drivers[0], 0, memory, **SHORT)
        with pytest.raises(DriverError):
            await entropy.read(16)
        assert (await entropy.device.wait_config(5e6)).status & DeviceStatus.NEEDS_RESET
        assert failure in str(device.failure)


class BlockedDma(CountedDma):
    """Host memory of the devices that blocks every access until ``gate`` is set."""

    def __init__(self, dma):
        super().__init__(dma)
        self.gate = asyncio.Event()

    async def _count(self, access):
        async def held():
            await self.gate.wait()
            return await access

        return await super()._count(held())


async def test_function_reset_drops_a_pending_response():
    """A response delayed by host memory must not reach a later driver."""
    device = BlockDevice(sectors=64)
    async with ModelSystem([{0: device}]) as system:
        disk = await BlockDriver.probe(system.drivers[0], 0, system.host.memory, **PATIENT)
        device._link.dma = memory = BlockedDma(system.dma)
        tasks = [asyncio.create_task(disk.read(0, 1))]
        while not memory.in_flight:
            await asyncio.sleep(0)
        tasks.append(asyncio.create_task(disk.device.reset()))
        while device.status:
            await asyncio.sleep(0)
        sent = []
        system.device_side.observers.append(lambda *message: sent.append(message))
        system.endpoint.function_reset()
        memory.gate.set()
        await settle(100)
        assert memory.in_flight == 0 and sent == []
        for task in tasks:
            task.cancel()
        # The transport continues.
        system.drivers[0].stop()
        system.host.enable()
        await system.drivers[0].start()
        assert await system.drivers[0].discover() == [0]
