# SPDX-License-Identifier: BSD-2-Clause
"""Defects of the C implementation in notifications; docs/defects.md has the list."""

import pytest
from model_support import settle
from raw_guest import CONSOLE, ENTROPY, open_guest, padded

from models.drivers import ConsoleDriver
from models.messages import CountError, SizeError, decode, encode, event
from models.transport import Drop
from models.virtio import DeviceStatus


def avail(index, dev_num=ENTROPY, following="00000000"):
    return f"0041 {dev_num:02x}00 0000 1000 {index} {following}"


@pytest.mark.parametrize("index", ["00000100", "00000080", "01000100", "ffffffff"])
async def test_d15_event_avail_index_0x10000(index):
    """All 32 bits of the index count: an index whose low half is 0 does not notify queue 0."""
    async with open_guest() as guest:
        await guest.bring_up()
        await guest.dropped(avail(index), Drop.NO_QUEUE)
        assert guest.transport.devices[ENTROPY].queues[0].notifications == 0
        assert (await guest.request("GET_DEVICE_STATUS")).status == 0xF


async def test_d17_event_config_covers_its_data():
    """msg_size covers the data; an event with a smaller msg_size is refused."""
    async with open_guest() as guest:
        await guest.bring_up(CONSOLE)
        guest.transport.devices[CONSOLE].resize(132, 50)
        await guest.transport.notify_config(CONSOLE)
        # The transport sends no range and no data, which all known drivers accept.
        assert await guest.receive() == padded("0040 0300 0000 1800 0f000000 01000000")
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


async def test_d20_used_buffers_send_no_event_config():
    """Each change sends one EVENT_CONFIG; later EVENT_USED do not send another."""
    async with open_guest() as guest:
        driver, system = guest.system.drivers[0], guest.system
        console, events = guest.transport.devices[CONSOLE], []
        await driver.start()
        driver.event_callbacks.append(events.append)
        path = await ConsoleDriver.probe(driver, CONSOLE, system.host.memory)
        for changes in (1, 2):
            console.resize(80 + changes, 25)
            await guest.transport.notify_config(CONSOLE)
            for _ in range(5):
                await path.write(b"hello")
            await driver.ping()
            names = [message.name for message in events]
            assert names.count("EVENT_CONFIG") == changes
            assert names.count("EVENT_USED") >= 5 * changes
        path.stop()
        driver.stop()


async def test_d21_event_avail_before_driver_ok():
    """An EVENT_AVAIL before DRIVER_OK is dropped without an effect on the device."""
    async with open_guest() as guest:
        device = guest.transport.devices[ENTROPY]
        for statuses in ((0,), (1,), (3,)):
            await guest.status(ENTROPY, *statuses)
            await guest.dropped(avail("00000000"), Drop.NOT_RUNNING)
            assert device.status == statuses[-1]
        await guest.bring_up()
        assert device.queues[0].notifications == 0


@pytest.mark.parametrize("index", ["01000000", "02000000", "00040000"])
async def test_d21_event_avail_for_a_queue_not_set_up(index):
    """An EVENT_AVAIL for a queue that is not set up or does not exist is dropped."""
    async with open_guest() as guest:
        await guest.bring_up(CONSOLE)
        await guest.dropped(avail(index, CONSOLE), Drop.NO_QUEUE)
        assert (await guest.request("GET_DEVICE_STATUS", CONSOLE)).status == 0xF


async def test_d40_failed_device_sends_no_further_event():
    """A device that failed sends one EVENT_CONFIG, then no event until it is reset."""
    async with open_guest() as guest:
        # The areas of the queue are not memory, so the device fails at its first access.
        await guest.bring_up()
        await guest.send(avail("00000000"))
        assert await guest.receive() == padded("0040 0000 0000 1800 4f000000 00000000")
        await guest.dropped(avail("00000000"), Drop.NOT_RUNNING)
        await guest.transport.notify_used(ENTROPY, 0)
        await settle()
        answer = await guest.request("GET_DEVICE_STATUS")
        assert answer.status == 0xF | DeviceStatus.NEEDS_RESET
        # A stopped device sends no events either.
        assert await guest.status(ENTROPY, 0) == 0
        await guest.transport.notify_used(ENTROPY, 0)
        await guest.transport.notify_config(ENTROPY)
        await settle()
        assert await guest.exchange() == []


@pytest.mark.parametrize("following", ["40000000", "ffff0000", "ffffffff", "00000080"])
async def test_d43_next_offset_is_ignored(following):
    """NOTIFICATION_DATA is not offered, so next_offset is ignored and the queue is notified."""
    async with open_guest() as guest:
        await guest.bring_up(CONSOLE)
        assert await guest.exchange(avail("00000000", CONSOLE, following)) == []
        assert guest.transport.devices[CONSOLE].queues[0].notifications == 1
        words = (await guest.request("GET_FEATURES", CONSOLE, index=1, num=1)).features
        assert not words[0] & 1 << 38 - 32, "NOTIFICATION_DATA is offered"
