# SPDX-License-Identifier: BSD-2-Clause
"""Set-up of queues and resets by a driver."""

import asyncio

import pytest
from model_support import settle
from scripted_bus import driver_of, status
from transport_support import DeviceBus, Plain, info, silent

from models.devices import ConsoleDevice, EntropyDevice
from models.dma import PAGE
from models.driver import (
    DriverError,
    QueueError,
    RequestTimeoutError,
    Ring,
    RingAllocator,
    Unclaimed,
)
from models.drivers import EntropyDriver, TransferTimeoutError
from models.drivers.base import DeviceFailedError
from models.messages import DeviceState, QueueOperation
from models.system import ModelSystem
from models.virtio import RING_FEATURES, Feature

SHORT = {"timeout_us": 1000}


async def test_queue_size_is_limited():
    class Greedy:
        def allocate(self, max_size):
            areas = {"descriptor_addr": 0, "driver_addr": PAGE, "device_addr": 2 * PAGE}
            return Ring(size=2 * max_size, **areas)

    bus = DeviceBus({0: Plain()})
    async with driver_of(bus) as driver:
        for most, size in ((4, 4), (16, 16), (256, 16)):
            device = await driver.probe(0, rings=RingAllocator(max_size=most))
            assert device.rings[0].size == size == bus.of("SET_VQUEUE")[-1].size
        before = len(bus.of("SET_VQUEUE"))
        with pytest.raises(QueueError, match="ring has 32 descriptors: must be 16 at most"):
            await driver.probe(0, rings=Greedy())
        assert len(bus.of("SET_VQUEUE")) == before


async def test_enabled_queue_is_not_set_up():
    bus = DeviceBus({0: Plain()})
    async with driver_of(bus) as driver:
        device = await driver.probe(0)
        before = len(bus.of("SET_VQUEUE"))
        with pytest.raises(QueueError, match="device 0: queue 0 is enabled: reset it first"):
            await device.set_up_queue(0, driver.rings)
        # The same for another driver object.
        other = await driver.device(0)
        with pytest.raises(QueueError, match="is enabled"):
            await other.set_up_queue(0, driver.rings)
        assert len(bus.of("SET_VQUEUE")) == before
    assert {m.flags & 3 for m in bus.of("SET_VQUEUE")} == {QueueOperation.ENABLE}


async def test_queue_is_reset_and_set_up_again():
    """GET_VQUEUE, RESET_VQUEUE and its response precede SET_VQUEUE."""
    device = Plain(features=Feature.RING_RESET.mask)
    bus = DeviceBus({0: device})
    async with driver_of(bus) as driver:
        handle = await driver.probe(0, features=Feature.RING_RESET.mask)
        before, ring = len(bus.sent), handle.rings[0]
        bus.answers["RESET_VQUEUE"] = silent
        resetting = asyncio.create_task(handle.reset_queue(0))
        setting_up = asyncio.create_task(handle.set_up_queue(0, driver.rings))
        await settle()
        assert not resetting.done() and [m.name for m in bus.sent[before:]] == [
            "GET_VQUEUE",
            "GET_VQUEUE",
            "RESET_VQUEUE",
        ]
        with pytest.raises(QueueError, match="is enabled"):
            await setting_up
        device.reset_queue(0)
        bus.give(bus.sent[-1].respond())
        await resetting
        with pytest.raises(QueueError, match="queue 0 is not set up"):
            await handle.notify(0)
        await handle.set_up_queue(0, driver.rings)
        assert device.queues[0].enabled and handle.rings[0] != ring
        await handle.notify(0)
        with pytest.raises(QueueError, match="there is no queue 1"):
            await handle.reset_queue(1)
        assert len(bus.of("RESET_VQUEUE")) == 1


async def test_no_queue_reset_without_ring_reset():
    bus = DeviceBus({0: Plain(features=Feature.RING_RESET.mask)})
    async with driver_of(bus) as driver:
        device = await driver.probe(0)
        with pytest.raises(QueueError, match="device 0: RING_RESET was not negotiated"):
            await device.reset_queue(0)
        await device.notify(0)
        await device.shutdown()
    assert bus.of("RESET_VQUEUE") == []


async def test_status_at_any_time():
    bus = DeviceBus({0: Plain()})
    async with driver_of(bus) as driver:
        device = await driver.device(0)
        assert await device.status() == 0
        seen = []
        for bits in (1, 2):
            await device.add_status(bits)
            seen.append(await device.status())
        await device.bring_up(rings=driver.rings)
        seen.append(await device.status())
        bus.transport.devices[0].needs_reset()
        seen.append(await device.status())
        assert seen == [1, 3, 0xF, 0x4F]


async def test_reset_is_polled():
    """The driver only polls until the status is 0, then continues."""
    device, statuses = Plain(), [0xF, 0xF, 0x40, 0]
    bus = DeviceBus({0: device})
    async with driver_of(bus) as driver:
        handle = await driver.probe(0)
        before = len(bus.sent)
        bus.answers["SET_DEVICE_STATUS"] = lambda m: m.respond(status=0xF)

        def poll(message):
            status_now = statuses.pop(0)
            if not statuses:
                del bus.answers["SET_DEVICE_STATUS"], bus.answers["GET_DEVICE_STATUS"]
                device.reset()
            return message.respond(status=status_now)

        bus.answers["GET_DEVICE_STATUS"] = poll
        await handle.bring_up(rings=driver.rings)
        sent = bus.sent[before:]
        assert [m.name for m in sent[:5]] == ["SET_DEVICE_STATUS"] + ["GET_DEVICE_STATUS"] * 4
        assert sent[0].status == 0 and device.running
        # The number of polls is limited.
        bus.answers["SET_DEVICE_STATUS"] = bus.answers["GET_DEVICE_STATUS"] = status(0xF)
        with pytest.raises(DriverError, match="status is 0x0f after reset: must be 0"):
            await handle.reset()
        assert len(bus.sent) < before + len(sent) + 200


STEPS = [
    "GET_DEVICE_INFO",
    "SET_DEVICE_STATUS",
    "GET_DEVICE_STATUS",
    "GET_DEVICE_FEATURES",
    "SET_DRIVER_FEATURES",
    "GET_VQUEUE",
    "SET_VQUEUE",
]


@pytest.mark.parametrize("step", STEPS)
async def test_probe_times_out_at_every_step(step):
    """The step fails in bounded time, no message follows, and another probe succeeds."""
    device = ConsoleDevice()
    bus = DeviceBus({0: device}, **{step: silent})
    loop = asyncio.get_running_loop()
    async with driver_of(bus, **SHORT) as driver:
        with pytest.raises(RequestTimeoutError, match=f"{step} to device 0: no response"):
            await driver.probe(0)
        assert loop.time() < 0.01
        assert bus.sent[-1].name == step and not device.running
        del bus.answers[step]
        await driver.probe(0)
        assert device.running
        # Late responses match no request.
        bus.give(
            next(m for m in bus.sent if m.name == "GET_DEVICE_INFO").respond(
                **info()(bus.sent[0]).fields
            )
        )
        await settle()
        assert driver.unclaimed == {Unclaimed.UNMATCHED: 1}


async def test_needs_reset_fails_transfers_until_restart():
    """Transfers fail; restart resets the device and brings it up with the same options."""
    device = EntropyDevice()
    async with ModelSystem([{0: device}], revision="r1") as system:
        driver, memory = system.drivers[0], system.host.memory
        path = await EntropyDriver.probe(driver, 0, memory, queue_size=8, ring_features=0)
        good, device._link = device._link, None
        reading = asyncio.create_task(path.read(4))
        await settle(100)
        device.needs_reset()
        await system.device_side.transports[0].notify_config(0)
        with pytest.raises(DeviceFailedError, match="device 0: needs a reset"):
            await reading
        with pytest.raises(DeviceFailedError):
            await path.read(4)
        device._link = good
        sent = []
        system.device_side.observers.append(lambda way, fifo, raw: sent.append(raw[:9]))
        again = await path.restart()
        # Device information, then a status of 0.
        requests = [raw for raw in sent if not raw[0] & 1]
        assert requests[0][1] == 2 and (requests[1][1], requests[1][8]) == (8, 0)
        assert len(await again.read(4)) == 4 and device.status == 0xF
        assert again.device.rings[0].size == 8 and not again.device.features & RING_FEATURES
        with pytest.raises(DeviceFailedError):
            await path.read(4)
        # The previous object has removed its callback.
        assert len(driver.event_callbacks) == 1


async def test_status_events_without_needs_reset_have_no_effect():
    """Other statuses, and events of other devices, do not fail transfers."""
    async with ModelSystem([{0: EntropyDevice(), 1: EntropyDevice()}], revision="r1") as system:
        driver, memory = system.drivers[0], system.host.memory
        path = await EntropyDriver.probe(driver, 0, memory)
        await driver.probe(1)
        transport = system.device_side.transports[0]
        await transport.notify_config(0)
        transport.devices[1].needs_reset()
        await transport.notify_config(1)
        await system.device_side.unplug(0, 1)
        assert await driver.wait_device(DeviceState.REMOVED, 1e4) == 1
        assert len(await path.read(4)) == 4


async def test_lost_notification_times_out_and_restart_recovers():
    """A lost EVENT_USED or EVENT_AVAIL is a timeout, and a restart recovers."""
    device = EntropyDevice()
    async with ModelSystem([{0: device}], revision="r1") as system:
        driver, memory = system.drivers[0], system.host.memory
        path = await EntropyDriver.probe(driver, 0, memory, timeout_us=2000)
        for lost in ("EVENT_USED", "EVENT_AVAIL"):
            bus, side = system.buses[0], system.device_side
            send, give = bus.send, side.send
            if lost == "EVENT_AVAIL":
                bus.send = lambda raw, send=send: _drop(raw) if raw[1] == 0x41 else send(raw)
            else:
                side.send = lambda fifo, raw, give=give: (
                    _drop(raw) if raw[1] == 0x42 else give(fifo, raw)
                )
            with pytest.raises(TransferTimeoutError, match="device 0, queue 0: no buffer was"):
                await path.read(4)
            bus.send, side.send = send, give
            path = await path.restart()
            assert len(await path.read(4)) == 4


async def _drop(raw):
    pass
