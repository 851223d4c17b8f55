# SPDX-License-Identifier: BSD-2-Clause
"""Driver, golden endpoint, transport and devices together, without a simulator."""

import asyncio

import pytest
from model_support import settle

from models.bus import Direction
from models.config_space import COMMAND, DEVICE_CONTROL, INITIATE_FLR
from models.devices import BlockDevice, ConsoleDevice, EntropyDevice
from models.driver import Driver, QueueError, RequestTimeoutError, Ring, RingAllocator
from models.messages import V1, decode, describe, event, request
from models.system import ModelSystem
from models.virtio import DeviceStatus


def some_devices():
    return {0: EntropyDevice(), 3: ConsoleDevice(), 31: BlockDevice(sectors=0x1234)}


@pytest.mark.parametrize("num_fifos", range(1, 9))
async def test_every_fifo_brings_its_devices_up(num_fifos):
    layouts = [{fifo: EntropyDevice(), fifo + 9: ConsoleDevice()} for fifo in range(num_fifos)]
    async with ModelSystem(layouts) as system:
        found = await asyncio.gather(*(driver.discover() for driver in system.drivers))
        assert found == [[fifo, fifo + 9] for fifo in range(num_fifos)]
        probed = await asyncio.gather(
            *(
                driver.probe(number)
                for driver, numbers in zip(system.drivers, found, strict=True)
                for number in numbers
            )
        )
        assert [device.info.device_id for device in probed] == [4, 3] * num_fifos
        for transport in system.device_side.transports:
            assert all(device.running for device in transport.devices.values())
            assert not transport.drops
        assert all(count > 0 for count in system.host.interrupts.values())


async def test_bring_up_is_the_linux_sequence():
    async with ModelSystem([{5: ConsoleDevice()}]) as system:
        driver, trace = system.drivers[0], []
        system.observe(lambda direction, fifo, raw: trace.append((direction, decode(raw))))
        device = await driver.probe(5, rings=RingAllocator(0x4000_0000))
        await device.notify(0)
        await device.shutdown()
        lines = [
            describe(message).replace(f" token 0x{message.token:04x}", "")
            for direction, message in trace
            if direction is Direction.TO_DEVICE
        ]
    names = " (ACKNOWLEDGE DRIVER"
    ring = "descriptor_addr 0x00000000{} driver_addr 0x00000000{} device_addr 0x00000000{}"
    assert lines == [
        "DEVICE_INFO request dev 5",
        "SET_DEVICE_STATUS request dev 5 status 0x00",
        "GET_DEVICE_STATUS request dev 5",
        "SET_DEVICE_STATUS request dev 5 status 0x01 (ACKNOWLEDGE)",
        "GET_DEVICE_STATUS request dev 5",
        f"SET_DEVICE_STATUS request dev 5 status 0x03{names})",
        "GET_FEATURES request dev 5 index 0 num 2",
        "SET_FEATURES request dev 5 index 0 num 2 features 0x00000000 0x00000013 "
        "(VERSION_1 ACCESS_PLATFORM ORDER_PLATFORM)",
        "GET_DEVICE_STATUS request dev 5",
        f"SET_DEVICE_STATUS request dev 5 status 0x0b{names} FEATURES_OK)",
        "GET_DEVICE_STATUS request dev 5",
        "GET_VQUEUE request dev 5 index 0",
        "SET_VQUEUE request dev 5 index 0 size 64 "
        + ring.format("40000000", "40001000", "40002000"),
        "GET_VQUEUE request dev 5 index 1",
        "SET_VQUEUE request dev 5 index 1 size 64 "
        + ring.format("40003000", "40004000", "40005000"),
        "GET_DEVICE_STATUS request dev 5",
        f"SET_DEVICE_STATUS request dev 5 status 0x0f{names} DRIVER_OK FEATURES_OK)",
        "EVENT_AVAIL dev 5 index 0 next_offset 0 next_wrap 0",
        "SET_DEVICE_STATUS request dev 5 status 0x00",
        "RESET_VQUEUE request dev 5 index 0",
        "RESET_VQUEUE request dev 5 index 1",
        "GET_DEVICE_STATUS request dev 5",
        "GET_DEVICE_STATUS request dev 5",
        "SET_DEVICE_STATUS request dev 5 status 0x01 (ACKNOWLEDGE)",
    ]
    # Each request has one response, in order, with the same token.
    asked = [message for direction, message in trace if direction is Direction.TO_DEVICE]
    answers = [message for direction, message in trace if direction is Direction.TO_DRIVER]
    assert [(m.name, m.token) for m in asked if m.kind == "request"] == [
        (m.name, m.token) for m in answers
    ]


async def test_configuration_and_queues():
    async with ModelSystem([some_devices()]) as system:
        driver = system.drivers[0]
        entropy, console, block = [await driver.probe(n) for n in (0, 3, 31)]
        config = await block.read_config(0, 60)
        assert config[:8] == (0x1234).to_bytes(8, "little")
        await console.write_config(8, b"A\0\0\0")
        assert await console.read_config(8, 4) == b"A\0\0\0"
        await entropy.confirm_queue(0)
        rings = [ring for device in (entropy, console, block) for ring in device.rings.values()]
        assert len({ring.descriptor_addr for ring in rings}) == 4
        await entropy.set_queue(0, Ring(size=8, descriptor_addr=0, driver_addr=0, device_addr=0))
        await entropy.confirm_queue(0)
        entropy.rings[0] = Ring(size=8, descriptor_addr=0, driver_addr=0, device_addr=0)
        with pytest.raises(QueueError, match="queue 0 did not accept its ring"):
            await entropy.confirm_queue(0)


async def test_notifications_in_both_directions():
    async with ModelSystem([some_devices()]) as system:
        driver, transport = system.drivers[0], system.device_side.transports[0]
        console = await driver.probe(3)
        await console.notify(1)
        await driver.ping()
        assert transport.devices[3].queues[1].notifications == 1
        await transport.notify_used(3, 1)
        transport.devices[3].resize(132, 50)
        await transport.notify_config(3)
        assert (await console.wait_config(1e6)).generation == 1
        assert (await console.wait_used(1, 1e6)).index == 1
        assert await console.wait_used(1, 100) is None
        assert (await console.read_config(0, 4)).hex() == "84003200"


async def test_absent_device_times_out_and_others_work():
    async with ModelSystem([some_devices()], timeout_us=2e5) as system:
        driver = system.drivers[0]
        with pytest.raises(RequestTimeoutError, match="DEVICE_INFO to device 7"):
            await driver.probe(7)
        assert (await driver.probe(0)).info.device_id == 4


async def test_requests_beyond_the_queue_capacity_are_not_lost():
    # 300 senders share 61 slots, and their responses share 61 slots.
    async with ModelSystem([{n: EntropyDevice() for n in range(32)}]) as system:
        driver = system.drivers[0]
        answers = await asyncio.gather(
            *(driver.request("GET_DEVICE_STATUS", dev_num=n % 32) for n in range(300))
        )
        assert [answer.dev_num for answer in answers] == [n % 32 for n in range(300)]
        assert not driver.unclaimed


async def test_driver_that_does_not_receive_blocks_only_its_fifo():
    # The driver of FIFO 0 sends without receiving: 61 responses wait in RAM, one at the device
    # side, and the remaining requests in the driver queue. FIFO 1 still works.
    async with ModelSystem([some_devices(), some_devices()]) as system:
        system.drivers[0].stop()
        bus = system.buses[0]
        for n in range(122):
            await bus.send(request("GET_DEVICE_STATUS", token=n).wire())
        await settle(200)
        assert not system.endpoint.device_queue_ready(0)
        assert (await system.drivers[1].probe(3)).info.device_id == 3
        tokens = [decode(await bus.recv()).token for _ in range(122)]
        assert tokens == list(range(122))


async def test_reload_of_the_driver():
    # The module is unloaded with messages in flight and loaded again; it zeroes both queues,
    # including the indices that the device owns.
    async with ModelSystem([some_devices()]) as system:
        await system.drivers[0].probe(3)
        system.drivers[0].stop()
        for _ in range(7):
            await system.buses[0].send(request("GET_DEVICE_STATUS", token=0xAAAA).wire())
        await system.buses[0].clear()
        await settle()
        driver = Driver(system.buses[0], system.runtime)
        async with driver:
            assert await driver.discover() == [0, 3, 31]
            assert (await driver.probe(3)).info.device_id == 3
        transport = system.device_side.transports[0]
        assert not transport.drops


async def test_function_level_reset_under_traffic():
    async with ModelSystem([some_devices()]) as system:
        await system.drivers[0].probe(3)
        system.drivers[0].stop()
        for _ in range(100):
            await system.buses[0].send(request("GET_DEVICE_STATUS", token=0xAAAA).wire())
        await settle(100)
        waiting = asyncio.create_task(system.device_side.transports[0].notify_used(3, 1))
        await settle()
        assert not waiting.done()
        system.endpoint.config_write(DEVICE_CONTROL, INITIATE_FLR.mask)
        await waiting
        await settle(100)
        assert [d.status for d in system.device_side.transports[0].devices.values()] == [0, 0, 0]
        assert await system.host.bar_read(0, 0, 4) == b"\xff" * 4
        await system.host.bar_write(1, 0, b"lost")
        assert system.endpoint.config_read(COMMAND) & 6 == 0
        assert bytes(system.endpoint.ram[0x2000:0x2004]) == bytes(4)
        # A new driver receives no earlier message.
        system.host.enable()
        driver = Driver(system.buses[0], system.runtime)
        async with driver:
            assert (await driver.probe(3)).info.device_id == 3
        assert not driver.unclaimed


async def test_device_answers_during_a_flood_of_events():
    async with ModelSystem([some_devices()]) as system:
        driver = system.drivers[0]
        console = await driver.probe(3)
        flood = [console.notify(1) for _ in range(200)]
        answers = [driver.request("GET_DEVICE_STATUS", dev_num=n) for n in (0, 3, 31) * 10]
        await asyncio.gather(*flood, *answers)
        await driver.ping()
        assert system.device_side.transports[0].devices[3].queues[1].notifications == 200


async def test_device_that_needs_reset_notifies_and_recovers():
    async with ModelSystem([some_devices()]) as system:
        driver, transport = system.drivers[0], system.device_side.transports[0]
        console = await driver.probe(3)
        transport.devices[3].needs_reset()
        await transport.notify_config(3)
        message = await console.wait_config(1e6)
        assert message.status & DeviceStatus.NEEDS_RESET
        await console.bring_up(rings=driver.rings)
        assert transport.devices[3].running


async def test_trace_is_the_same_on_both_sides():
    async with ModelSystem([some_devices()]) as system:
        at_driver, at_device = [], []
        system.observe(lambda *m: at_driver.append((m[0], m[1], decode(m[2]))))
        system.device_side.observers.append(lambda *m: at_device.append((m[0], m[1], decode(m[2]))))
        await system.drivers[0].probe(31)
        assert len(at_driver) > 20
        assert at_driver == at_device


async def test_invalid_messages_are_dropped_and_others_served():
    async with ModelSystem([some_devices()]) as system:
        bus = system.buses[0]
        await bus.send(b"\xff" * 64)
        await bus.send(b"\0")
        await bus.send(event("EVENT_AVAIL", index=0, next_offset=0, next_wrap=0).wire())
        await bus.send(request("BUS_PING", token=0xBBBB, data=1).respond(data=1).wire())
        await system.drivers[0].ping(3)
        assert system.device_side.transports[0].drops.total() == 4
        assert V1.max_size == 48
