# SPDX-License-Identifier: BSD-2-Clause
"""EVENT_AVAIL to a device; EVENT_USED and EVENT_CONFIG to the driver."""

import asyncio

import pytest
from model_support import settle
from transport_support import (
    EMPTY,
    PROFILES,
    ask,
    avail,
    dropped,
    negotiate,
    set_queue,
    start,
    write_status,
)

from models.devices import BlockDevice, ConsoleDevice
from models.dma import DmaError
from models.drivers import BlockDriver, ConsoleDriver
from models.handlers import Drop
from models.messages import CountError, SizeError, event
from models.system import ModelSystem
from models.transport import TransportError


@pytest.mark.parametrize("following", [0, 0x40, 0xFFFF, 0x8000_0000, 0xFFFF_FFFF])
def test_event_avail_notifies_its_queue(exchange, dialect, following):
    """NOTIFICATION_DATA is not offered, so next_offset and next_wrap are ignored."""
    start(exchange, 3)
    set_queue(exchange, 3, index=1)
    for index, notifications in ((0, [1, 0]), (1, [1, 1]), (1, [1, 2])):
        raw = avail(index, 3, dialect, following=following)
        assert exchange.ask_bytes(raw) == []
        assert [queue.notifications for queue in exchange.devices[3].queues] == notifications
    assert exchange.transport.drops.total() == 0
    assert ask(exchange, "GET_DEVICE_STATUS", 3).status == 0xF


def test_event_avail_is_dropped_unless_the_device_runs(exchange, dialect):
    """A stray EVENT_AVAIL has no effect, and later ones are delivered (D-21)."""
    raw = avail(revision=dialect)
    for status in (0, 1, 3):
        assert write_status(exchange, 0, status) == status
        dropped(exchange, raw, Drop.NOT_RUNNING)
    negotiate(exchange)
    set_queue(exchange)
    dropped(exchange, raw, Drop.NOT_RUNNING)
    assert write_status(exchange, 0, 0xF) == 0xF
    (queue,) = exchange.devices[0].queues
    assert queue.notifications == 0
    assert exchange.ask_bytes(raw) == []
    assert queue.notifications == 1
    exchange.devices[0].needs_reset()
    dropped(exchange, raw, Drop.NOT_RUNNING)


@pytest.mark.parametrize("index", [1, 2, 1024, 0x1_0000, 0x1_0001, 0x8000_0000, 0xFFFF_FFFF])
def test_event_avail_for_a_queue_not_set_up_is_dropped(exchange, dialect, index):
    """All 32 bits of the index count: one whose low half is 0 is not that of queue 0 (D-15)."""
    start(exchange, 3)
    dropped(exchange, avail(index, 3, dialect), Drop.NO_QUEUE)
    assert ask(exchange, "GET_DEVICE_STATUS", 3).status == 0xF


def test_events_to_the_driver(exchange, dialect):
    """EVENT_USED names its queue; EVENT_CONFIG has status and generation, but no range."""
    transport = exchange.transport
    start(exchange, 3)
    exchange.sent.clear()
    asyncio.run(transport.notify_used(3, 1))
    transport.devices[3].resize(3, 4)
    asyncio.run(transport.notify_config(3))
    asyncio.run(transport.notify_used(3, 0))
    used, config, again = (dialect.decode(raw) for raw in exchange.sent)
    assert (used.name, used.dev_num, used.index, used.token) == ("EVENT_USED", 3, 1, 0)
    assert (config.name, config.dev_num, config.token) == ("EVENT_CONFIG", 3, 0)
    assert (config.status, config.generation) == (0xF, 1)
    assert (config.offset, config.size, config.data, config.msg_size) == (0, 0, b"", 24)
    assert (again.name, again.index) == ("EVENT_USED", 0)
    assert {len(raw) for raw in exchange.sent} == {dialect.max_size}


def test_no_events_before_driver_ok(exchange):
    asyncio.run(exchange.transport.notify_used(0, 0))
    asyncio.run(exchange.transport.notify_config(0))
    assert exchange.sent == []


def test_events_need_a_device_and_a_queue(exchange):
    with pytest.raises(TransportError, match="device number is 5: there is no such device"):
        asyncio.run(exchange.transport.notify_config(EMPTY))
    with pytest.raises(TransportError, match="queue is 1: device 0 has 1"):
        asyncio.run(exchange.transport.notify_used(0, 1))


def test_event_config_size_covers_its_data(dialect):
    """An event with data and a smaller msg_size is refused."""
    fields = {"status": 0xF, "generation": 1, "offset": 0, "revision": dialect}
    most = dialect.max_size - 24
    for size in range(most + 1):
        raw = event("EVENT_CONFIG", data=bytes(size), **fields).encode()
        assert len(raw) == 24 + size
        assert len(dialect.decode(raw).data) == size
        for short in range(25, 24 + size):
            with pytest.raises(SizeError):
                dialect.decode(raw[:6] + short.to_bytes(2, "little") + raw[8:])
    with pytest.raises(CountError):
        event("EVENT_CONFIG", data=bytes(most + 1), **fields)


@pytest.mark.parametrize("profile", PROFILES)
async def test_writes_cause_no_event(profile):
    """Accepted, refused and stale writes cause responses only, and no event."""
    async with ModelSystem([{0: ConsoleDevice()}], revision=PROFILES[profile]) as system:
        driver, seen = system.drivers[0], []
        driver.event_callbacks.append(seen.append)
        console = await driver.probe(0)
        await console.write_config(8, b"A\0\0\0")
        for generation, offset in ((0, 8), (99, 8), (1, 0), (1, 11)):
            fields = {"generation": generation, "offset": offset, "data": b"BB"}
            await driver.request("SET_CONFIG", dev_num=0, **fields)
        await console.write_status(0x8F)
        await console.reset()
        await driver.ping()
        assert seen == []


async def test_each_change_sends_one_event(dialect):
    """Used buffers after a change send no EVENT_CONFIG; GET_CONFIG returns the new contents."""
    async with ModelSystem([{0: ConsoleDevice()}], revision=dialect) as system:
        driver, seen = system.drivers[0], []
        driver.event_callbacks.append(seen.append)
        path = await ConsoleDriver.probe(driver, 0, system.host.memory)
        transport = system.device_side.transports[0]
        for n in range(1, 4):
            transport.devices[0].resize(100 + n, 40)
            await transport.notify_config(0)
            for _ in range(5):
                await path.write(b"hello")
            await driver.ping()
            changes = [message for message in seen if message.name == "EVENT_CONFIG"]
            assert len(changes) == n and len(seen) - n >= 5 * n
            assert {message.name for message in seen} == {"EVENT_CONFIG", "EVENT_USED"}
            change = changes[-1]
            assert (change.dev_num, change.status, change.generation) == (0, 0xF, n)
            assert (change.offset, change.size, change.data, change.msg_size) == (0, 0, b"", 24)
            assert await path.device.read_config(0, 2) == bytes([100 + n, 0])


async def test_failure_sends_one_event(dialect):
    """A failure sends one status event without a range, then nothing until a reset."""
    device = BlockDevice(sectors=8)
    async with ModelSystem([{0: device}], revision=dialect) as system:
        seen, memory = [], system.host.memory
        driver, transport = system.drivers[0], system.device_side.transports[0]
        driver.event_callbacks.append(seen.append)
        disk = await BlockDriver.probe(driver, 0, memory)
        broken = asyncio.Event()

        async def refuse(address, size):
            broken.set()
            raise DmaError("no completion")

        good, device._link.dma = device._link.dma, _Reads(refuse)
        reading = asyncio.create_task(disk.read(0, 1))
        await broken.wait()
        await settle(100)
        reading.cancel()
        assert [(m.name, m.status, m.generation, m.offset, m.size) for m in seen] == [
            ("EVENT_CONFIG", 0x4F, 0, 0, 0)
        ]
        await transport.receive(avail(revision=dialect))
        assert transport.drops == {Drop.NOT_RUNNING: 1}
        await transport.notify_used(0, 0)
        assert await disk.device.status() == 0x4F
        assert len(seen) == 1
        # A device that was reset sends no event either.
        await disk.device.reset()
        await transport.notify_used(0, 0)
        await transport.notify_config(0)
        await driver.ping()
        assert len(seen) == 1
        device._link.dma = good
        again = await disk.restart()
        assert await again.read(0, 1) == bytes(512)


class _Reads:
    def __init__(self, read):
        self.read = read
