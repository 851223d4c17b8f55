# SPDX-License-Identifier: BSD-2-Clause
"""Bring-up of a device by a driver."""

from uuid import uuid4

import pytest
from scripted_bus import StatusRegister, driver_of
from transport_support import EVERY_REQUEST, UNSUPPORTED, DeviceBus, Plain, info

from models.devices import ConsoleDevice, SharedMemory
from models.dma import PAGE
from models.driver import ConfigError, FeaturesRefusedError, QueueError, StatusError
from models.messages import R1, V1, MessageKind, QueueOperation, UnknownMessageError
from models.virtio import UNSUPPORTED_FEATURES, Feature

NULL_RING = {"cur_size": 0, "flags": 0, "desc_addr": 0, "driver_addr": 0, "device_addr": 0}


async def test_messages_of_a_probe():
    """A probe sends exactly these messages in this order."""
    device = ConsoleDevice()
    bus = DeviceBus({9: device})
    async with driver_of(bus) as driver:
        await driver.probe(9, features=1 << 0 | 1 << 5)
    sent = [(m.name, *_shown_fields(m)) for m in bus.sent]
    enable = QueueOperation.ENABLE
    assert sent == [
        ("GET_DEVICE_INFO",),
        ("SET_DEVICE_STATUS", 0),
        ("GET_DEVICE_STATUS",),
        ("SET_DEVICE_STATUS", 1),
        ("GET_DEVICE_STATUS",),
        ("SET_DEVICE_STATUS", 3),
        ("GET_DEVICE_FEATURES", 0, 2),
        # F_SIZE, which is requested and offered, VERSION_1, ACCESS_PLATFORM and
        # ORDER_PLATFORM; not F_EMERG_WRITE, which is not requested.
        ("SET_DRIVER_FEATURES", 0, (1, 0x13)),
        ("GET_DEVICE_STATUS",),
        ("SET_DEVICE_STATUS", 0xB),
        ("GET_DEVICE_STATUS",),
        ("GET_VQUEUE", 0),
        ("SET_VQUEUE", 0, enable, 64, 0),
        ("GET_VQUEUE", 0),
        ("GET_VQUEUE", 1),
        ("SET_VQUEUE", 1, enable, 64, 0),
        ("GET_VQUEUE", 1),
        ("GET_DEVICE_STATUS",),
        ("SET_DEVICE_STATUS", 0xF),
    ]
    assert device.running and {m.dev_num for m in bus.sent} == {9}
    for message in bus.of("SET_VQUEUE"):
        addresses = {message.desc_addr, message.driver_addr, message.device_addr}
        assert len(addresses) == 3 and not any(address % PAGE for address in addresses)


def _shown_fields(message):
    names = ("status", "index", "block_index", "num_blocks", "flags", "size", "reserved")
    fields = dict(message.fields)
    if message.name == "SET_DRIVER_FEATURES":
        names = ("block_index", "features")
    return [fields[name] for name in names if name in fields]


async def test_every_request_is_sent_and_its_response_decoded():
    """The driver sends the ten core messages and GET_SHM and decodes the responses."""
    device = ConsoleDevice()
    device.offered |= Feature.RING_RESET.mask
    device.shared_memory[2] = SharedMemory(address=0x1234_5678_9000, length=1 << 40)
    bus = DeviceBus({0: device})
    async with driver_of(bus) as driver:
        handle = await driver.probe(0, features=Feature.RING_RESET.mask)
        assert await handle.read_config(0, 4) == b"\x50\0\x19\0"
        await handle.write_config(8, b"A\0\0\0")
        assert bytes(device.output) == b"A"
        await handle.reset_queue(1)
        assert not device.queues[1].enabled
        assert await handle.shared_memory(2) == device.shared_memory[2]
        # A region of length 0 does not exist, whatever its address is.
        assert await handle.shared_memory(3) is None
        bus.answers["GET_SHM"] = lambda message: message.respond(
            shmid=message.shmid, length=0, address=0x1000
        )
        assert await handle.shared_memory(2) is None
        assert not driver.unclaimed
    assert {message.role for message in bus.sent} == set(EVERY_REQUEST)


async def test_request_missing_in_the_revision_is_refused():
    bus = DeviceBus({0: ConsoleDevice()}, V1)
    async with driver_of(bus) as driver:
        device = await driver.device(0)
        before = len(bus.sent)
        with pytest.raises(UnknownMessageError, match="GET_SHM"):
            await device.shared_memory(0)
        assert len(bus.sent) == before


@pytest.mark.parametrize("kept", [0xFF & ~8, 3, 1, 0])
async def test_probe_fails_without_features_ok(kept):
    """The driver accesses no queue and sets FAILED."""
    status = StatusRegister(kept | 0x80)
    bus = DeviceBus(
        {0: ConsoleDevice()}, SET_DEVICE_STATUS=status.write, GET_DEVICE_STATUS=status.read
    )
    async with driver_of(bus) as driver:
        with pytest.raises(FeaturesRefusedError, match="does not accept"):
            await driver.probe(0)
    assert bus.of("SET_VQUEUE") == bus.of("GET_VQUEUE") == []
    assert bus.of("SET_DEVICE_STATUS")[-1].status & 0x80
    assert not any(message.status & 4 for message in bus.of("SET_DEVICE_STATUS"))


@pytest.mark.parametrize("bit", UNSUPPORTED)
async def test_unsupported_features_are_not_accepted(dialect, bit):
    """Unsupported features are not accepted, even if offered and requested."""
    device = ConsoleDevice()
    device.offered |= bit.mask
    bus = DeviceBus({0: device}, dialect)
    async with driver_of(bus) as driver:
        handle = await driver.probe(0, features=bit.mask | 1)
        assert not handle.features & UNSUPPORTED_FEATURES
    roles = [message for message in bus.sent if message.role == "SET_FEATURES"]
    assert [message.features for message in roles] == [(1, 0x13)]
    assert any(message.role == "GET_FEATURES" for message in bus.sent)


@pytest.mark.parametrize(
    "change",
    [
        {"cur_size": 8},
        {"flags": 0},
        {"flags": 0xFFFF_FFFE},
        {"desc_addr": 0},
        {"driver_addr": 1 << 63},
        {"device_addr": 0},
        NULL_RING,
    ],
    ids=str,
)
async def test_probe_fails_if_a_queue_does_not_accept_its_ring(change):
    """The driver checks GET_VQUEUE and does not set DRIVER_OK on such a device."""
    bus = DeviceBus({0: ConsoleDevice()})

    def get_vqueue(message):
        (written,) = bus.of("SET_VQUEUE") or [None]
        fields = {"index": message.index, "max_size": 64, **NULL_RING}
        if written is not None:
            fields.update(cur_size=written.size, flags=1)
            fields.update({name: written.fields[name] for name in list(NULL_RING)[2:]})
            fields.update(change)
        return message.respond(**fields)

    bus.answers["GET_VQUEUE"] = get_vqueue
    async with driver_of(bus) as driver:
        with pytest.raises(QueueError, match="device 0: queue 0 did not accept its ring"):
            await driver.probe(0)
    assert [message.status for message in bus.of("SET_DEVICE_STATUS")][-1] == 0x8B
    assert not bus.transport.devices[0].running


async def test_probe_fails_without_driver_ok():
    bus = DeviceBus({0: ConsoleDevice()})
    device = bus.transport.devices[0]

    def write(message):
        device.write_status(message.status & ~4)
        return message.respond(status=device.status)

    bus.answers["SET_DEVICE_STATUS"] = write
    async with driver_of(bus) as driver:
        with pytest.raises(StatusError, match="status is 0x0b: must have DRIVER_OK"):
            await driver.probe(0)
    assert device.status == 0x8B


async def test_no_notification_before_the_queue_is_ready():
    """No notification before a response with DRIVER_OK, or for a queue that is not set up."""
    bus = DeviceBus({0: ConsoleDevice()})
    async with driver_of(bus) as driver:
        device = await driver.device(0)
        await device.reset()
        for bits in (1, 2):
            await device.add_status(bits)
        with pytest.raises(QueueError, match="queue 0 is not set up"):
            await device.notify(0)
        await device.negotiate()
        await device.set_up_queue(0, driver.rings)
        with pytest.raises(StatusError, match="device 0: status is 0x0b: must have DRIVER_OK"):
            await device.notify(0)
        await device.add_status(4)
        for index in (1, 2):
            with pytest.raises(QueueError, match=f"queue {index} is not set up"):
                await device.notify(index)
        assert bus.of("EVENT_AVAIL") == []
        await device.notify(0)
        assert [message.vq_index for message in bus.of("EVENT_AVAIL")] == [0]
        await device.shutdown()
        with pytest.raises(QueueError):
            await device.notify(0)
        assert len(bus.of("EVENT_AVAIL")) == 1
        assert bus.of("RESET_VQUEUE") == []


async def test_uuid():
    device, uuid = ConsoleDevice(), uuid4()
    async with driver_of(DeviceBus({0: device})) as driver:
        assert (await driver.device(0)).info.uuid is None
        device.uuid = uuid
        assert (await driver.device(0)).info.uuid == uuid


@pytest.mark.parametrize(("first", "count"), [(0, 0), (7, 0), (2, 1), (1, 2)])
async def test_admin_queues_are_set_up_like_others(first, count):
    """Administration virtqueues are among the other queues and are set up like them."""
    answer = info(admin_vq_start=first, admin_vq_count=count)
    bus = DeviceBus({0: Plain(queues=3)}, GET_DEVICE_INFO=answer)
    async with driver_of(bus) as driver:
        device = await driver.probe(0)
        assert sorted(device.rings) == [0, 1, 2]
        assert (device.info.admin_vq_idx, device.info.admin_vq_count) == (first, count)
    assert {message.index for message in bus.of("GET_VQUEUE")} == {0, 1, 2}


@pytest.mark.parametrize("blocks", [0, 1, 2, 3, 1000])
async def test_limits_come_from_the_device_info(blocks):
    """The driver uses the announced numbers of blocks, bytes and queues, even unknown blocks."""
    answer = info(num_feature_blocks=blocks, config_size=6, max_virtqueues=2)
    bus = DeviceBus({0: Plain(queues=3)}, GET_DEVICE_INFO=answer)
    async with driver_of(bus) as driver:
        device = await driver.device(0)
        assert device.info.num_feature_bits == 32 * blocks
        assert await device.read_config(0, 6) == bytes(range(6))
        with pytest.raises(ConfigError, match="must lie in 6"):
            await device.read_config(0, 7)
        await device.offered_features()
        asked = bus.of("GET_DEVICE_FEATURES")
        capacity = R1.capacity("GET_FEATURES", MessageKind.RESPONSE, "features")
        assert [(m.block_index, m.num_blocks) for m in asked] == [
            (index, min(capacity, blocks - index)) for index in range(0, blocks, capacity)
        ]
        if blocks >= 2:
            assert sorted((await driver.probe(0)).rings) == [0, 1]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ([], 0),
        ([0x8000_0001], 0x8000_0001),
        ([1, 2], 1 | 2 << 32),
        ([1, 2, 0xFFFF_FFFF, 5], 1 | 2 << 32),
    ],
)
async def test_feature_blocks(words, offered):
    """Missing words of a response are zero, and excess words are ignored."""
    bus = DeviceBus(
        {0: ConsoleDevice()},
        GET_DEVICE_FEATURES=lambda message: message.respond(block_index=0, features=words),
    )
    async with driver_of(bus) as driver:
        device = await driver.device(0)
        assert await device.offered_features() == offered
