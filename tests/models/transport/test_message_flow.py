# SPDX-License-Identifier: BSD-2-Clause
"""Order of messages, flow control and padding of slots."""

import asyncio
import random
import struct
from collections import Counter

from model_support import settle
from scripted_bus import ScriptedBus, driver_of
from transport_support import DeviceBus, SlowDrain, devices, record_messages

from models.bus import Direction
from models.devices import ConsoleDevice, EntropyDevice
from models.driver import Driver, RequestTimeoutError
from models.drivers import EntropyDriver
from models.layout import SMALL_PAGES
from models.messages import R1, MessageKind, decode
from models.shell import AMP_PCI
from models.system import ModelSystem


async def test_every_request_has_one_outcome():
    """With queues of four messages, each request has one response, or fails without a device."""
    numbers = {0: ConsoleDevice(), 3: ConsoleDevice()}
    async with ModelSystem([numbers], revision="r1", layout=SMALL_PAGES, timeout_us=5e4) as system:
        system.drivers[0].stop()
        answered, asked = Counter(), Counter()
        system.observe(
            lambda direction, fifo, raw: (
                asked if direction is Direction.TO_DEVICE else answered
            ).update([struct.unpack_from("<BHH", raw[1:])])
        )
        driver = Driver(
            system.buses[0], system.runtime, revision="r1", timeout_us=5e4, pipelined=True
        )
        async with driver:
            outcomes = await asyncio.gather(
                *(
                    driver.request("GET_CONFIG", dev_num=n % 5, offset=0, length=n % 12)
                    for n in range(200)
                ),
                return_exceptions=True,
            )
            await settle(100)
        assert not driver.unclaimed
    assert len(asked) == 200 and set(asked.values()) == {1}
    assert answered == Counter(key for key in asked if key[1] in numbers)
    for n, outcome in enumerate(outcomes):
        if n % 5 in numbers:
            assert (outcome.dev_num, outcome.length) == (n % 5, n % 12)
        else:
            assert isinstance(outcome, RequestTimeoutError)


async def test_requests_are_processed_in_order():
    """Several outstanding requests reach a device, and are processed, in the order of the calls."""
    console = ConsoleDevice()
    async with ModelSystem([{0: console}], revision="r1", layout=SMALL_PAGES) as system:
        system.drivers[0].stop()
        under_way, most = 0, 0

        def count(direction, fifo, raw):
            nonlocal under_way, most
            under_way += 1 if direction is Direction.TO_DEVICE else -1
            most = max(most, under_way)

        system.observe(count)
        text = bytes(random.Random(7).sample(range(1, 256), 60))
        async with Driver(system.buses[0], system.runtime, revision="r1", pipelined=True) as driver:
            answers = await asyncio.gather(
                *(
                    driver.request(
                        "SET_CONFIG", dev_num=0, generation=0, offset=8, data=bytes([c, 0, 0, 0])
                    )
                    for c in text
                )
            )
        assert bytes(console.output) == text
        assert [answer.generation for answer in answers] == list(range(1, 61))
        assert most > 2


async def test_responses_may_arrive_in_any_order():
    bus = ScriptedBus(R1)
    async with driver_of(bus, pipelined=True) as driver:
        waiting = [
            asyncio.create_task(driver.request("GET_CONFIG", dev_num=1, offset=n, length=1))
            for n in range(8)
        ]
        await settle()
        assert len(bus.sent) == 8 and len({message.token for message in bus.sent}) == 8
        for n in (3, 7, 0, 1, 6, 2, 5, 4):
            bus.give(bus.sent[n].respond(generation=0, offset=n, data=bytes([n])))
        assert [(await task).data for task in waiting] == [bytes([n]) for n in range(8)]
        assert not driver.unclaimed


async def test_events_do_not_wait_for_requests():
    """Events of both sides are sent while a request is outstanding."""
    slow, other = SlowDrain(), ConsoleDevice()
    slow.gate.set()
    async with ModelSystem([{0: slow, 1: other}], revision="r1") as system:
        driver, transport = system.drivers[0], system.device_side.transports[0]
        handles = [await driver.probe(n) for n in (0, 1)]
        slow.gate.clear()
        resetting = asyncio.create_task(handles[0].write_status(0))
        await settle(50)
        assert not slow.status and not resetting.done()
        await transport.notify_config(1)
        other._link.notify_used(1)
        assert await handles[1].wait_config(1e4) is not None
        assert await handles[1].wait_used(1, 1e4) is not None
        assert not resetting.done()
        slow.gate.set()
        assert await resetting == 0
    bus = DeviceBus({0: ConsoleDevice()})
    async with driver_of(bus) as driver:
        device = await driver.probe(0)
        bus.answers["GET_VQUEUE"] = lambda message: None
        asking = asyncio.create_task(device.queue(0))
        await settle()
        async with asyncio.timeout(0.001):
            await device.notify(1)
        assert bus.sent[-1].name == "EVENT_AVAIL" and not asking.done()
        asking.cancel()


async def test_slots_are_padded_with_zeros():
    """The rest of each slot in shared memory is zeroed, for any previous contents."""
    dialect = R1.on_bus(max_size=52)
    async with ModelSystem([devices()], revision=dialect) as system:
        layout, ram = system.endpoint.layout, system.endpoint.ram
        driver, queue = system.drivers[0], layout.queue
        bases = layout.driver_queue_base(0), layout.device_queue_base(0)
        for base in bases:
            for slot in range(queue.capacity):
                at = base + queue.slot_offset(slot)
                ram[at : at + queue.slot_size] = b"\xee" * queue.slot_size
        await driver.discover()
        await driver.ping(0xFFFF_FFFF)
        await driver.probe(3)
        for base in bases:
            used = int.from_bytes(ram[base + queue.head_offset :][:4], "little")
            assert used > 15
            for slot in range(used):
                at = base + queue.slot_offset(slot)
                raw = bytes(ram[at : at + queue.slot_size])
                size = struct.unpack_from("<H", raw, 6)[0]
                assert raw[size:] == bytes(queue.slot_size - size)
            assert ram[base + queue.slot_offset(used)] == 0xEE


async def test_every_notification_is_sent_once():
    """There are as many event messages as notifications, in both directions."""
    async with ModelSystem([{0: EntropyDevice(), 3: ConsoleDevice()}], revision="r1") as system:
        sent, received = record_messages(system)
        driver, side = system.drivers[0], system.device_side
        called = []
        driver.event_callbacks.append(called.append)
        entropy = await EntropyDriver.probe(driver, 0, system.host.memory, ring_features=0)
        console = await driver.probe(3)
        for _ in range(5):
            assert len(await entropy.read(8)) == 8
        await console.notify(1)
        for _ in range(3):
            await side.transports[0].notify_config(3)
        await driver.ping()
        assert sorted(sent) == sorted(received)
        messages = [(direction, decode(raw, R1)) for direction, raw in received]
        counts = Counter(
            (direction, m.name, m.dev_num)
            for direction, m in messages
            if m.kind is MessageKind.EVENT
        )
        assert counts == {
            (Direction.TO_DEVICE, "EVENT_AVAIL", 0): 5,
            (Direction.TO_DEVICE, "EVENT_AVAIL", 3): 1,
            (Direction.TO_DRIVER, "EVENT_USED", 0): 5,
            (Direction.TO_DRIVER, "EVENT_CONFIG", 3): 3,
        }
        assert Counter((m.name, m.dev_num) for m in called) == {
            ("EVENT_USED", 0): 5,
            ("EVENT_CONFIG", 3): 3,
        }
        queues = [side.transports[0].devices[n].queues for n in (0, 3)]
        assert [[queue.notifications for queue in each] for each in queues] == [[5], [0, 1]]


async def test_doorbells_and_interrupts_without_a_message():
    """Doorbells and interrupts without a message cause no message and no event."""
    async with ModelSystem([devices()], revision="r1") as system:
        driver, called = system.drivers[0], []
        driver.event_callbacks.append(called.append)
        await driver.probe(3)
        sent, received = record_messages(system)
        for _ in range(10):
            for offset in (AMP_PCI.notify(0),):
                await system.host.bar_write(AMP_PCI.register_bar, offset, b"\1\0\0\0")
            system.endpoint.msix.trigger(0)
            await settle()
        assert sent == received == called == []
        assert not driver.unclaimed and not system.device_side.transports[0].drops
        assert system.device_side.transports[0].devices[3].queues[0].notifications == 0
        await driver.ping()
        assert len(sent) == len(received) == 2


async def test_used_notifications_wait_for_space():
    """Notifications that find the device queue full are sent later, without loss."""
    entropy, choices = EntropyDevice(), {"layout": SMALL_PAGES, "dma_latency_us": 50.0}
    async with ModelSystem([{0: entropy}], revision="r1", **choices) as system:
        driver, transport = system.drivers[0], system.device_side.transports[0]
        path = await EntropyDriver.probe(driver, 0, system.host.memory, ring_features=0)
        driver.stop()
        reads = [asyncio.create_task(path.read(8)) for _ in range(6)]
        await asyncio.sleep(2e-5)
        assert entropy.queues[0].notifications == 6 and entropy.bytes_written == 0
        for _ in range(4):
            await transport.notify_config(0)
        assert not system.endpoint.device_queue_ready(0)
        await asyncio.sleep(0.005)
        # The device worked, although it could not notify.
        assert entropy.bytes_written == 48 and not any(read.done() for read in reads)
        await driver.start()
        assert [len(await read) for read in reads] == [8] * 6
