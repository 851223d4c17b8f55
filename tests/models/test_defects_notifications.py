# SPDX-License-Identifier: BSD-2-Clause
"""Notifications that the C implementation gets wrong; docs/defects.md has the list."""

import pytest
from defect_support import CONSOLE, ENTROPY, guest, padded
from model_support import settle

from models.drivers import ConsoleDriver
from models.messages import CountError, SizeError, decode, encode, event
from models.transport import Drop
from models.virtio import DeviceStatus


def avail(index, dev_num=ENTROPY, following="00000000"):
    return f"0041 {dev_num:02x}00 0000 1000 {index} {following}"


@pytest.mark.parametrize("index", ["00000100", "00000080", "01000100", "ffffffff"])
async def test_d15_event_avail_index_0x10000(index):
    """The whole 32-bit index counts: its low half names queue 0, and that is not notified."""
    async with guest() as one:
        await one.bring_up()
        await one.dropped(avail(index), Drop.NO_QUEUE)
        assert one.transport.devices[ENTROPY].queues[0].notifications == 0
        assert (await one.request("GET_DEVICE_STATUS")).status == 0xF


async def test_d17_event_config_covers_its_data():
    """msg_size counts the data; an event that says less is not decoded."""
    async with guest() as one:
        await one.bring_up(CONSOLE)
        one.transport.devices[CONSOLE].resize(132, 50)
        await one.transport.notify_config(CONSOLE)
        # Ours names no range and has no data, which every driver seen takes.
        assert await one.receive() == padded("0040 0300 0000 1800 0f000000 01000000")
    fields = {"status": 0xF, "generation": 1, "offset": 0}
    for size in range(25):
        raw = encode(event("EVENT_CONFIG", data=bytes(size), **fields))
        assert len(raw) == 24 + size
        assert len(decode(raw).data) == size
        for short in range(25, 24 + size):
            with pytest.raises(SizeError):
                decode(raw[:6] + short.to_bytes(2, "little") + raw[8:])
    with pytest.raises(CountError):
        event("EVENT_CONFIG", data=bytes(25), **fields)


async def test_d20_used_buffers_tell_of_no_change():
    """One EVENT_CONFIG for each change, and none beside the EVENT_USED that come after it."""
    async with guest() as one:
        driver, system = one.system.drivers[0], one.system
        console, told = one.transport.devices[CONSOLE], []
        await driver.start()
        driver.event_callbacks.append(told.append)
        path = await ConsoleDriver.probe(driver, CONSOLE, system.host.memory)
        for changes in (1, 2):
            console.resize(80 + changes, 25)
            await one.transport.notify_config(CONSOLE)
            for _ in range(5):
                await path.write(b"hello")
            await driver.ping()
            names = [message.name for message in told]
            assert names.count("EVENT_CONFIG") == changes
            assert names.count("EVENT_USED") >= 5 * changes
        path.stop()
        driver.stop()


async def test_d21_event_avail_before_driver_ok():
    """A doorbell message too early is dropped: the device lives, no event comes."""
    async with guest() as one:
        device = one.transport.devices[ENTROPY]
        for statuses in ((0,), (1,), (3,)):
            await one.status(ENTROPY, *statuses)
            await one.dropped(avail("00000000"), Drop.NOT_RUNNING)
            assert device.status == statuses[-1]
        await one.bring_up()
        assert device.queues[0].notifications == 0


@pytest.mark.parametrize("index", ["01000000", "02000000", "00040000"])
async def test_d21_event_avail_of_a_queue_that_is_not_set_up(index):
    """The same for a queue that was not set up, and for one that there is not."""
    async with guest() as one:
        await one.bring_up(CONSOLE)
        await one.dropped(avail(index, CONSOLE), Drop.NO_QUEUE)
        assert (await one.request("GET_DEVICE_STATUS", CONSOLE)).status == 0xF


async def test_d40_a_dead_device_is_silent():
    """A device that failed says so once, then sends no event until it was reset."""
    async with guest() as one:
        # The areas of the queue are no memory, so the device fails when it looks.
        await one.bring_up()
        await one.send(avail("00000000"))
        assert await one.receive() == padded("0040 0000 0000 1800 4f000000 00000000")
        await one.dropped(avail("00000000"), Drop.NOT_RUNNING)
        await one.transport.notify_used(ENTROPY, 0)
        await settle()
        answer = await one.request("GET_DEVICE_STATUS")
        assert answer.status == 0xF | DeviceStatus.NEEDS_RESET
        # A stopped one is as silent.
        assert await one.status(ENTROPY, 0) == 0
        await one.transport.notify_used(ENTROPY, 0)
        await one.transport.notify_config(ENTROPY)
        await settle()
        assert await one.tell() == []


@pytest.mark.parametrize("following", ["40000000", "ffff0000", "ffffffff", "00000080"])
async def test_d43_next_offset_may_be_anything(following):
    """The offset is a hint that nobody negotiated: the queue is notified whatever it says."""
    async with guest() as one:
        await one.bring_up(CONSOLE)
        assert await one.tell(avail("00000000", CONSOLE, following)) == []
        assert one.transport.devices[CONSOLE].queues[0].notifications == 1
        words = (await one.request("GET_FEATURES", CONSOLE, index=1, num=1)).features
        assert not words[0] & 1 << 38 - 32, "NOTIFICATION_DATA is offered"
