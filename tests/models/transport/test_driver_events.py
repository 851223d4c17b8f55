# SPDX-License-Identifier: BSD-2-Clause
"""Events to a driver, and devices that are removed."""

import asyncio

import pytest
from model_support import settle
from scripted_bus import driver_of
from transport_support import EVERY_REQUEST, DeviceBus, config_event, device_event, silent

from models.config_space import DEVICE_CONTROL, INITIATE_FLR
from models.devices import ConsoleDevice, EntropyDevice, NetworkDevice
from models.driver import NoDeviceError, Unclaimed
from models.drivers import ConsoleDriver, EntropyDriver, VirtioDriver
from models.drivers.base import DeviceFailedError
from models.messages import R1, DeviceState, event, request
from models.system import ModelSystem
from models.virtqueue import Buffer


async def test_requests_to_a_removed_device_fail():
    """Outstanding and later requests fail immediately and without traffic; others continue."""
    bus = DeviceBus({0: ConsoleDevice(), 1: EntropyDevice()})
    async with driver_of(bus) as driver:
        device, other = await driver.probe(0), await driver.probe(1)
        bus.answers["GET_DEVICE_STATUS"] = silent
        asking = [asyncio.create_task(device.status()) for _ in range(3)]
        waiting = asyncio.create_task(other.status())
        await settle()
        bus.give(device_event(0, DeviceState.REMOVED))
        await settle()
        for task in asking:
            with pytest.raises(NoDeviceError, match="device 0: the device was removed"):
                await task
        assert not waiting.done()
        bus.give(bus.of("GET_DEVICE_STATUS")[-1].respond(status=0xF))
        assert await waiting == 0xF
        sent = len(bus.sent)
        for name, fields in EVERY_REQUEST.items():
            with pytest.raises(NoDeviceError):
                await driver.request(name, dev_num=0, **fields)
        with pytest.raises(NoDeviceError, match="EVENT_AVAIL to device 0: the device was removed"):
            await device.notify(0)
        assert len(bus.sent) == sent
        await other.notify(0)
        assert [m.dev_num for m in bus.of("EVENT_AVAIL")] == [1]
        assert await driver.wait_device(DeviceState.REMOVED, 1e4) == 0
        # The bus still works, and the number can be used again.
        assert await driver.discover() == [0, 1]
        bus.give(device_event(0, DeviceState.ADDED))
        assert await driver.wait_device(DeviceState.ADDED, 1e4) == 0
        del bus.answers["GET_DEVICE_STATUS"]
        await driver.probe(0)


async def test_discovery_finds_a_device_without_added_event():
    """ADDED may be lost in a function reset; discovery of the number then suffices."""
    bus = DeviceBus({0: ConsoleDevice(), 1: EntropyDevice()})
    async with driver_of(bus) as driver:
        device = await bus.transport.unplug(0)
        assert await driver.wait_device(DeviceState.REMOVED, 1e4) == 0
        assert await driver.discover() == [1]
        with pytest.raises(NoDeviceError):
            await driver.device(0)
        bus.transport.add(device, 0)
        assert await driver.discover() == [0, 1]
        assert (await driver.device(0)).info.device_id == 3
        # A removal immediately after the response takes precedence over it.
        bus.answers["BUS_GET_DEVICES"] = lambda message: message.respond(
            offset=0, count=32, next_offset=0, bitmap=b"\3\0\0\0"
        )
        finding = asyncio.create_task(driver.discover())
        await asyncio.sleep(0)
        bus.give(device_event(0, DeviceState.REMOVED))
        assert await finding == [0, 1]
        with pytest.raises(NoDeviceError):
            await driver.device(0)


@pytest.mark.parametrize("kind", [EntropyDriver, ConsoleDriver])
async def test_transfers_of_a_removed_device_fail(kind):
    """Transfers fail with a named error, other devices work, and the number is reusable."""
    device = EntropyDevice() if kind is EntropyDriver else ConsoleDevice()
    async with ModelSystem([{0: device, 1: EntropyDevice()}], revision="r1") as system:
        driver, memory = system.drivers[0], system.host.memory
        path = await kind.probe(driver, 0, memory, timeout_us=1e6)
        other = await EntropyDriver.probe(driver, 1, memory)
        device._link = None
        use = (lambda: path.read(4)) if kind is EntropyDriver else path.read
        reading = asyncio.create_task(use())
        await settle(100)
        assert not reading.done()
        await system.device_side.unplug(0, 0)
        with pytest.raises(DeviceFailedError, match="device 0: was removed"):
            await reading
        with pytest.raises(DeviceFailedError):
            await use()
        with pytest.raises(NoDeviceError):
            await path.restart()
        assert len(await other.read(8)) == 8
        assert await system.device_side.plug(0, EntropyDevice(), 0) == 0
        assert await driver.wait_device(DeviceState.ADDED, 1e4) == 0
        assert len(await (await EntropyDriver.probe(driver, 0, memory)).read(4)) == 4


class SlowMemory:
    """Host memory whose writes take 1 µs."""

    def __init__(self, memory):
        self._memory = memory
        self.allocate, self.read = memory.allocate, memory.read

    async def write(self, address, data):
        await asyncio.sleep(1e-6)
        await self._memory.write(address, data)


@pytest.mark.parametrize("change", ["removal", "needs reset"])
async def test_transfer_written_while_its_device_fails(change):
    """Such transfers fail immediately with the error of the device, as earlier ones do."""
    device, loop = EntropyDevice(), asyncio.get_running_loop()
    async with ModelSystem([{0: device}], revision="r1") as system:
        driver, side, memory = system.drivers[0], system.device_side, SlowMemory(system.host.memory)
        path = await VirtioDriver.probe(driver, 0, memory, ring_features=0, timeout_us=1e6)
        buffer = [Buffer(memory.allocate(8), 8)]
        writing = asyncio.create_task(path.transfer(0, (), buffer))
        await settle()
        assert device.queues[0].notifications == 0 and not path._paths[0].transfers
        if change == "removal":
            await side.unplug(0, 0)
        else:
            device.needs_reset()
            await side.transports[0].notify_config(0)
        started = loop.time()
        with pytest.raises(DeviceFailedError, match=r"device 0: (was removed|needs a reset)"):
            await writing
        assert loop.time() - started < 1e-3
        assert device.queues[0].notifications == 0


async def test_failed_probe_removes_its_callback():
    """If the device fails during the probe, the driver removes its event callback."""

    class Failing(ConsoleDevice):
        def queue_notify(self, index):
            self.needs_reset()
            notifications.append(
                asyncio.ensure_future(system.device_side.transports[0].notify_config(0))
            )

    notifications = []
    async with ModelSystem([{0: Failing()}], revision="r1") as system:
        driver, memory = system.drivers[0], SlowMemory(system.host.memory)
        with pytest.raises(DeviceFailedError, match="device 0: needs a reset"):
            await ConsoleDriver.probe(driver, 0, memory, ring_features=0)
        assert notifications and driver.event_callbacks == []


async def test_available_buffers_are_notified():
    """Each buffer sends EVENT_AVAIL for its queue, with next_offset 0."""
    async with ModelSystem([{4: NetworkDevice()}], revision="r1") as system:
        sent = []
        system.observe(lambda way, fifo, raw: raw[1] == 0x41 and sent.append(raw[2:16].hex()))
        path = await VirtioDriver.probe(system.drivers[0], 4, system.host.memory, ring_features=0)
        for index in (1, 0, 0):
            address = system.host.memory.allocate(2048)
            await path.submit(index, *_buffers(address, index))
        assert sent == [
            "040000001000" + "01000000" + "00000000",
            "040000001000" + "00000000" + "00000000",
            "040000001000" + "00000000" + "00000000",
        ]


def _buffers(address, index):
    buffer = [Buffer(address, 1536 if index == 0 else 72)]
    return ((), buffer) if index == 0 else (buffer, ())


async def test_event_used_collects_its_queue():
    """EVENT_USED completes the transfers of its queue only."""
    device = NetworkDevice()
    async with ModelSystem([{0: device}], revision="r1") as system:
        memory, transport = system.host.memory, system.device_side.transports[0]
        path = await VirtioDriver.probe(system.drivers[0], 0, memory, ring_features=0)
        device._link = None
        transfers = [await path.submit(i, *_buffers(memory.allocate(2048), i)) for i in (0, 1)]
        written = [20, 0]
        for index, ring in path.device.rings.items():
            used = b"\0\0\1\0" + bytes(4) + written[index].to_bytes(4, "little")
            await memory.write(ring.device_addr, used)
        for index in (1, 0):
            before = [transfer.written for transfer in transfers]
            await transport.notify_used(0, index)
            await settle(100)
            before[index] = written[index]
            assert [transfer.written for transfer in transfers] == before
        # Events without new buffers, or for a missing queue, have no effect.
        await transport.notify_used(0, 1)
        stray = event("EVENT_USED", revision=R1, vq_index=9)
        await system.device_side.send(0, stray.wire())
        await settle(100)
        assert path.statistics.requests == 2 and await path.device.status() == 0xF


async def test_invalid_messages_are_counted_and_ignored():
    """Invalid messages are counted, without response, event or change."""
    bus, called = DeviceBus({0: ConsoleDevice()}), []
    async with driver_of(bus) as driver:
        device = await driver.probe(0)
        driver.event_callbacks.append(called.append)
        before = len(bus.sent)
        used = event("EVENT_USED", revision=R1, vq_index=0).encode()
        config = config_event(0, data=bytes(8)).encode()
        malformed = [
            b"",
            b"\xff" * 64,
            used[:11],
            used[:6] + b"\x0b\0" + used[8:],
            used[:6] + b"\x41\0" + used[8:].ljust(57, b"\0"),
            bytes([1]) + used[1:],
            bytes([2]) + used[1:],
            bytes([0, 0x3F]) + used[2:],
            # 8 bytes of data, with an msg_size that covers 4, or not even all fields.
            config[:6] + b"\x1c\0" + config[8:],
            config[:6] + b"\x17\0" + config[8:],
        ]
        for raw in malformed:
            bus.give(raw)
        await settle(50)
        assert driver.unclaimed == {Unclaimed.MALFORMED: len(malformed)}
        unexpected = [request(name, revision=R1, **f) for name, f in EVERY_REQUEST.items()]
        for message in unexpected:
            bus.give(message)
        bus.give(request("GET_DEVICE_STATUS", revision=R1, token=77).respond(status=0x4F))
        await settle(50)
        assert driver.unclaimed[Unclaimed.UNEXPECTED] == len(unexpected)
        assert driver.unclaimed[Unclaimed.UNMATCHED] == 1
        assert len(bus.sent) == before and called == []
        assert await device.status() == 0xF


async def test_function_reset_drops_waiting_messages():
    """Messages that wait for space at a function reset belong to the previous driver."""
    devices = {0: ConsoleDevice()}
    async with ModelSystem([devices], revision="r1") as system:
        await system.drivers[0].probe(0)
        system.drivers[0].stop()
        port, sent = system.port, []
        waiting = [asyncio.create_task(port.send(0, bytes([n]) * 64)) for n in range(70)]
        await settle(100)
        assert sum(task.done() for task in waiting) == 61
        system.endpoint.config_write(DEVICE_CONTROL, INITIATE_FLR.mask)
        await settle(100)
        assert all(task.done() for task in waiting)
        system.host.enable()
        system.observe(lambda way, fifo, raw: sent.append(raw))
        async with system.drivers[0] as driver:
            await driver.ping()
            assert len(sent) == 2 and not driver.unclaimed
