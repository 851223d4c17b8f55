# SPDX-License-Identifier: BSD-2-Clause
"""Transport revision 1, what a driver keeps to: rows DRV of docs/conformance.md."""

import asyncio
from uuid import uuid4

import pytest
from conformance_support import EVERY_REQUEST, STRICT, DeviceBus, silent
from model_support import settle
from scripted_bus import driver_of, status

from models.config_space import DEVICE_CONTROL, INITIATE_FLR
from models.devices import (
    ConsoleDevice,
    EntropyDevice,
    NetworkDevice,
    SharedMemory,
    VirtioDevice,
)
from models.dma import PAGE
from models.driver import Unclaimed
from models.driver_errors import (
    ConfigError,
    DriverError,
    FeaturesRefusedError,
    NoDeviceError,
    QueueError,
    RequestTimeoutError,
    StatusError,
)
from models.drivers import ConsoleDriver, DataPath, EntropyDriver, TransferTimeoutError
from models.drivers.base import DeviceFailedError
from models.loopback import PureSystem
from models.messages import (
    R1,
    V1,
    DeviceState,
    QueueOperation,
    UnknownMessageError,
    event,
    request,
)
from models.rings import Ring, RingArena
from models.virtio import RING_FEATURES, UNSUPPORTED_FEATURES, Feature
from models.virtqueue import Buffer

SHORT = {"timeout_us": 1000}
NULL_RING = {"cur_size": 0, "flags": 0, "desc_addr": 0, "driver_addr": 0, "device_addr": 0}


def device_event(number, state):
    fields = {"device_number": number, "device_bus_state": state}
    return event("BUS_EVENT_DEVICE", revision=R1, **fields)


def config_event(generation, *, device_status=0xF, offset=0, data=b""):
    fields = {"device_status": device_status, "generation": generation, "offset": offset}
    return event("EVENT_CONFIG", revision=R1, length=len(data), data=data, **fields)


class Plain(VirtioDevice):
    """Bytes of configuration that the driver may write, and queues that do nothing."""

    device_id = 4

    def __init__(self, *, size=60, queues=1, features=0):
        super().__init__(
            config=bytes(range(size)),
            writable=range(size),
            queue_sizes=(16,) * queues,
            features=features,
        )


# Bringing a device up


async def test_what_a_probe_sends():
    """Every message of it, in order: nothing is missing, too early or there in vain."""
    device = ConsoleDevice()
    bus = DeviceBus({9: device})
    async with driver_of(bus) as driver:
        await driver.probe(9, features=1 << 0 | 1 << 5)
    told = [(m.name, *_telling(m)) for m in bus.sent]
    enable = QueueOperation.ENABLE
    assert told == [
        ("GET_DEVICE_INFO",),
        ("SET_DEVICE_STATUS", 0),
        ("GET_DEVICE_STATUS",),
        ("SET_DEVICE_STATUS", 1),
        ("GET_DEVICE_STATUS",),
        ("SET_DEVICE_STATUS", 3),
        ("GET_DEVICE_FEATURES", 0, 2),
        # F_SIZE, which is meant and offered, VERSION_1 and ACCESS_PLATFORM; not F_EMERG_WRITE.
        ("SET_DRIVER_FEATURES", 0, (1, 3)),
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


def _telling(message):
    names = ("status", "index", "block_index", "num_blocks", "flags", "size", "reserved")
    fields = dict(message.fields)
    if message.name == "SET_DRIVER_FEATURES":
        names = ("block_index", "features")
    return [fields[name] for name in names if name in fields]


async def test_every_request_is_sent_and_understood():
    """The ten core messages and GET_SHM, with an answer of the device to each."""
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
        # A region that there is not is none, whatever its address says.
        assert await handle.shared_memory(3) is None
        bus.answers["GET_SHM"] = lambda message: message.respond(
            shmid=message.shmid, length=0, address=0x1000
        )
        assert await handle.shared_memory(2) is None
        assert not driver.unclaimed
    assert {message.name for message in bus.sent} == set(EVERY_REQUEST)


async def test_a_request_that_the_revision_has_not():
    bus = DeviceBus({0: ConsoleDevice()}, V1)
    async with driver_of(bus) as driver:
        device = await driver.device(0)
        before = len(bus.sent)
        with pytest.raises(UnknownMessageError, match="GET_SHM"):
            await device.shared_memory(0)
        assert len(bus.sent) == before


@pytest.mark.parametrize("kept", [0xFF & ~8, 3, 1, 0])
async def test_features_ok_that_does_not_stay(kept):
    """No queue is touched, and the device is told that the driver gave up."""
    held = 0

    def write(message):
        nonlocal held
        held = message.status & (kept | 0x80)
        return message.respond(status=held)

    bus = DeviceBus(
        {0: ConsoleDevice()},
        SET_DEVICE_STATUS=write,
        GET_DEVICE_STATUS=lambda message: message.respond(status=held),
    )
    async with driver_of(bus) as driver:
        with pytest.raises(FeaturesRefusedError, match="does not accept"):
            await driver.probe(0)
    assert bus.of("SET_VQUEUE") == bus.of("GET_VQUEUE") == []
    assert bus.of("SET_DEVICE_STATUS")[-1].status & 0x80
    assert not any(message.status & 4 for message in bus.of("SET_DEVICE_STATUS"))


@pytest.mark.parametrize("bit", [Feature.NOTIFICATION_DATA, Feature.NOTIF_CONFIG_DATA])
async def test_features_that_nobody_takes(bit):
    """Not even from a device that offers them, for a driver that would know them."""
    device = ConsoleDevice()
    device.offered |= bit.mask
    bus = DeviceBus({0: device})
    async with driver_of(bus) as driver:
        handle = await driver.probe(0, features=bit.mask | 1)
        assert bus.of("GET_DEVICE_FEATURES") and not handle.features & UNSUPPORTED_FEATURES
    (selected,) = bus.of("SET_DRIVER_FEATURES")
    assert selected.features == (1, 3)


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
async def test_a_queue_that_did_not_take_its_ring(change):
    """What GET_VQUEUE says counts: such a device never gets DRIVER_OK."""
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
        with pytest.raises(QueueError, match="device 0: queue 0 did not take its ring"):
            await driver.probe(0)
    assert [message.status for message in bus.of("SET_DEVICE_STATUS")][-1] == 0x8B
    assert not bus.transport.devices[0].running


async def test_driver_ok_that_does_not_stay():
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


async def test_nothing_is_notified_too_early():
    """Neither before a status with DRIVER_OK came back, nor for a queue that is not set up."""
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


# Device information


async def test_uuid():
    device, uuid = ConsoleDevice(), uuid4()
    async with driver_of(DeviceBus({0: device})) as driver:
        assert (await driver.device(0)).info.uuid is None
        device.uuid = uuid
        assert (await driver.device(0)).info.uuid == uuid


def info(**change):
    fields = {
        "device_id": 4,
        "vendor_id": 1,
        "device_uuid": bytes(16),
        "num_feature_blocks": 2,
        "config_size": 60,
        "max_virtqueues": 3,
        "admin_vq_start": 0,
        "admin_vq_count": 0,
    }
    return lambda message: message.respond(**(fields | change))


@pytest.mark.parametrize(("first", "count"), [(0, 0), (7, 0), (2, 1), (1, 2)])
async def test_admin_queues_are_queues(first, count):
    """Those that there are lie among the others and are set up like them."""
    answer = info(admin_vq_start=first, admin_vq_count=count)
    bus = DeviceBus({0: Plain(queues=3)}, GET_DEVICE_INFO=answer)
    async with driver_of(bus) as driver:
        device = await driver.probe(0)
        assert sorted(device.rings) == [0, 1, 2]
        assert (device.info.admin_vq_idx, device.info.admin_vq_count) == (first, count)
    assert {message.index for message in bus.of("GET_VQUEUE")} == {0, 1, 2}


@pytest.mark.parametrize("blocks", [0, 1, 2, 3, 1000])
async def test_limits_come_from_the_device_info(blocks):
    """Blocks that there are, and no more than this driver knows; bytes and queues as told."""
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
        assert [(m.block_index, m.num_blocks) for m in asked] == [(0, min(blocks, 2))] * bool(
            blocks
        )
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
    """From the block that was asked for; what did not come is zero, what is too much is nothing."""
    bus = DeviceBus(
        {0: ConsoleDevice()},
        GET_DEVICE_FEATURES=lambda message: message.respond(block_index=0, features=words),
    )
    async with driver_of(bus) as driver:
        device = await driver.device(0)
        assert await device.offered_features() == offered


# Configuration


@pytest.mark.parametrize(
    ("offset", "size"), [(0, 61), (60, 1), (59, 2), (61, 0), (0xFFFF_FFFF, 2), (-1, 1)]
)
async def test_accesses_stay_in_configuration_space(offset, size):
    """Such accesses fail before anything is sent; the last byte is fine."""
    bus = DeviceBus({0: Plain()})
    async with driver_of(bus) as driver:
        device = await driver.device(0)
        before = len(bus.sent)
        text = f"device 0: no configuration at {offset}, {size} bytes: must lie in 60"
        with pytest.raises(ConfigError, match=text):
            await device.read_config(offset, size)
        with pytest.raises(ConfigError, match=text):
            await device.write_config(offset, bytes(size))
        assert len(bus.sent) == before
        await device.write_config(59, b"z")
        assert await device.read_config(59, 1) == b"z"
        assert await device.read_config(60, 0) == b""


@pytest.mark.parametrize("max_size", [52, 64])
async def test_long_accesses_are_split(max_size):
    bus = DeviceBus({0: Plain()}, R1.on_bus(max_size=max_size))
    async with driver_of(bus) as driver:
        device = await driver.device(0)
        data = bytes(range(100, 160))
        await device.write_config(0, data)
        assert await device.read_config(0, 60) == data
    room = max_size - 20
    assert [(m.offset, m.length) for m in bus.of("SET_CONFIG")] == [(0, room), (room, 60 - room)]
    reads = [(m.offset, m.length) for m in bus.of("GET_CONFIG") if m.length]
    assert reads == [(0, room), (room, 60 - room)]
    assert all(m.msg_size <= max_size for m in bus.sent)


@pytest.mark.parametrize("strict", [False, True])
async def test_generation_of_a_write(strict):
    """Baseline: 0. Strict: the newest that was seen, after each piece of a long write too."""
    device = Plain()
    device.generation = 40
    bus = DeviceBus({0: device}, STRICT if strict else R1)
    async with driver_of(bus) as driver:
        handle = await driver.device(0)
        await handle.write_config(0, bytes(60))
        await handle.write_config(0, b"again")
        # Nothing changes with the same bytes, so neither does the generation.
        await handle.write_config(0, b"again")
        assert device.read_config(0, 60) == b"again" + bytes(55)
    generations = [message.generation for message in bus.of("SET_CONFIG")]
    assert generations == ([40, 41, 42, 43] if strict else [0] * 4)
    # Seen before the first write, by a read of no bytes.
    assert [m.name for m in bus.sent[1:3]] == (
        ["GET_CONFIG", "SET_CONFIG"] if strict else ["SET_CONFIG"] * 2
    )


async def test_profile_is_the_bus_s():
    """Feature bit 0 of a device is the device type's."""
    for dialect, generation in ((R1, 0), (STRICT, 7)):
        device = Plain(features=1)
        device.generation = 7
        bus = DeviceBus({0: device}, dialect)
        async with driver_of(bus) as driver:
            handle = await driver.probe(0, features=1)
            assert handle.features & 1
            await handle.write_config(0, b"x")
        assert [message.generation for message in bus.of("SET_CONFIG")] == [generation]


async def test_generation_of_an_event():
    """What an event said is newer than what was read before it."""
    device = Plain()
    bus = DeviceBus({0: device}, STRICT)
    async with driver_of(bus) as driver:
        handle = await driver.probe(0)
        await handle.read_config(0, 4)
        device.update_config(8, b"new")
        await bus.transport.notify_config(0)
        await settle()
        await handle.write_config(0, b"x")
        # Another device's event says nothing of this one.
        other = config_event(99)
        bus.give(other.dialect.message("EVENT_CONFIG", "event", dev_num=1, **other.fields))
        await settle()
        await handle.write_config(0, b"y")
    assert [message.generation for message in bus.of("SET_CONFIG")] == [1, 2]


async def test_strict_refusal_is_followed_by_a_read():
    """The contents changed unseen: GET_CONFIG, then the write again with what it said."""
    device = Plain()
    bus = DeviceBus({0: device}, STRICT)
    async with driver_of(bus) as driver:
        handle = await driver.device(0)
        await handle.read_config(0, 4)
        device.update_config(8, b"new")
        before = len(bus.sent)
        await handle.write_config(0, b"x")
        told = [(m.name, m.fields.get("generation")) for m in bus.sent[before:]]
        assert told == [("SET_CONFIG", 0), ("GET_CONFIG", None), ("SET_CONFIG", 1)]
        assert device.read_config(0, 1) == b"x"
        # One that is refused for another reason is not sent again.
        device._writable = range(0)
        before = len(bus.sent)
        with pytest.raises(ConfigError, match="cannot write configuration at 3, 2 bytes"):
            await handle.write_config(3, b"no")
        assert len(bus.sent) == before + 1
        # Contents that never hold still end it too.
        device._writable = range(60)
        bus.transport._requests._handlers["SET_CONFIG"] = _always_stale
        with pytest.raises(ConfigError, match="cannot write"):
            await handle.write_config(3, b"no")
        assert len(bus.sent) < before + 30


def _always_stale(message, device):
    return message.respond(generation=message.generation + 1, offset=message.offset, data=b"")


async def test_generation_may_go_down():
    """Any other generation is another one."""
    device = Plain()
    device.generation = 5
    bus = DeviceBus({0: device}, STRICT)
    async with driver_of(bus) as driver:
        handle = await driver.device(0)
        await handle.write_config(0, b"a")
        device.generation = 2
        await handle.write_config(0, b"b")
        device.generation = 0xFFFF_FFFF
        assert (await handle.read_config(0, 1)) == b"b"
        await handle.write_config(0, b"c")
        await handle.write_config(0, b"d")
        assert device.read_config(0, 1) == b"d" and device.generation == 1
    generations = [message.generation for message in bus.of("SET_CONFIG")]
    assert generations == [5, 6, 2, 0xFFFF_FFFF, 0]


async def test_generation_ends_with_a_reset():
    """After it the same number may stand for other contents: it is asked for anew."""
    device = Plain()
    bus = DeviceBus({0: device}, STRICT)
    async with driver_of(bus) as driver:
        handle = await driver.device(0)
        await handle.read_config(0, 1)
        await handle.write_config(0, b"a")
        await handle.reset()
        before = len(bus.sent)
        await handle.write_config(0, b"b")
        assert [m.name for m in bus.sent[before:]] == ["GET_CONFIG", "SET_CONFIG"]
        # So it is when the device went and came back.
        for state in (DeviceState.REMOVED, DeviceState.ADDED):
            bus.give(device_event(0, state))
        await settle()
        before = len(bus.sent)
        await handle.write_config(0, b"c")
        assert [m.name for m in bus.sent[before:]] == ["GET_CONFIG", "SET_CONFIG"]


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("written", [1, 3])
async def test_a_write_that_is_half_done(strict, written):
    """A length between nothing and all is no success, and no reason to write again."""

    def half(message):
        data = message.data[:written]
        return message.respond(generation=message.generation + 1, offset=0, data=data)

    bus = DeviceBus({0: Plain()}, STRICT if strict else R1, SET_CONFIG=half)
    async with driver_of(bus) as driver:
        device = await driver.device(0)
        with pytest.raises(ConfigError, match="cannot write configuration at 0, 4 bytes"):
            await device.write_config(0, b"data")
    assert len(bus.of("SET_CONFIG")) == 1


@pytest.mark.parametrize("generation", [0, 5])
async def test_a_baseline_write_that_is_refused(generation):
    """It was not refused for its generation, whatever the present one is: it is not sent again."""
    device = Plain()
    device._writable, device.generation = range(0), generation
    bus = DeviceBus({0: device})
    async with driver_of(bus) as driver:
        handle = await driver.device(0)
        with pytest.raises(ConfigError, match="cannot write configuration at 0, 4 bytes"):
            await handle.write_config(0, b"data")
    assert len(bus.of("SET_CONFIG")) == 1


@pytest.mark.parametrize("changes", [0, 1, 5])
async def test_multi_part_reads_are_of_one_moment(changes):
    """A change between the pieces of a long read shows in no piece, or in all."""
    device = Plain()
    bus = DeviceBus({0: device}, STRICT)
    take, left = bus.transport.receive, changes

    async def receive(raw):
        nonlocal left
        await take(raw)
        if bus.sent[-1].name == "GET_CONFIG" and bus.sent[-1].length and left:
            left -= 1
            device.update_config(0, bytes([200 + left]) * 60)

    bus.transport.receive = receive
    async with driver_of(bus) as driver:
        handle = await driver.device(0)
        data = await handle.read_config(0, 60)
        assert data == device.read_config(0, 60) and left == 0
        # And what is written next is up to date.
        before = len(bus.of("SET_CONFIG"))
        await handle.write_config(0, bytes(60))
        assert [m.generation for m in bus.of("SET_CONFIG")[before:]] == [changes, changes + 1]


async def test_configuration_is_read_after_its_event():
    """No view is kept that an event could make wrong: what is asked for is read then."""
    device = ConsoleDevice()
    async with PureSystem([{0: device}], revision="r1") as system:
        driver = system.drivers[0]
        console = await ConsoleDriver.probe(driver, 0, system.host.memory)
        assert await console.size() == (80, 25)
        device.resize(132, 43)
        await system.device_side.transports[0].notify_config(0)
        told = await console.device.wait_config(1e4)
        assert (told.offset, told.length, told.data) == (0, 0, b"")
        assert await console.size() == (132, 43)
        # I/O goes on as before.
        await console.write(b"still here")
        assert bytes(device.output) == b"still here"


# Queues


async def test_size_of_a_queue():
    class Greedy:
        def allocate(self, max_size):
            areas = {"descriptor_addr": 0, "driver_addr": PAGE, "device_addr": 2 * PAGE}
            return Ring(size=2 * max_size, **areas)

    bus = DeviceBus({0: Plain()})
    async with driver_of(bus) as driver:
        for most, size in ((4, 4), (16, 16), (256, 16)):
            device = await driver.probe(0, rings=RingArena(max_size=most))
            assert device.rings[0].size == size == bus.of("SET_VQUEUE")[-1].size
        before = len(bus.of("SET_VQUEUE"))
        with pytest.raises(QueueError, match="ring has 32 descriptors: must be 16 at most"):
            await driver.probe(0, rings=Greedy())
        assert len(bus.of("SET_VQUEUE")) == before


async def test_an_enabled_queue_is_left_alone():
    bus = DeviceBus({0: Plain()})
    async with driver_of(bus) as driver:
        device = await driver.probe(0)
        before = len(bus.of("SET_VQUEUE"))
        with pytest.raises(QueueError, match="device 0: queue 0 is enabled: reset it first"):
            await device.set_up_queue(0, driver.rings)
        # Another driver, that knows nothing of it, neither.
        other = await driver.device(0)
        with pytest.raises(QueueError, match="is enabled"):
            await other.set_up_queue(0, driver.rings)
        assert len(bus.of("SET_VQUEUE")) == before
    assert {m.flags & 3 for m in bus.of("SET_VQUEUE")} == {QueueOperation.ENABLE}


async def test_a_queue_is_reset_and_set_up_anew():
    """GET_VQUEUE, RESET_VQUEUE, its answer, and only then SET_VQUEUE."""
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


# Status and resets


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


async def test_reset_that_takes_time():
    """Nothing else is sent while the status is not 0; then it goes on."""
    device, left = Plain(), [0xF, 0xF, 0x40, 0]
    bus = DeviceBus({0: device})
    async with driver_of(bus) as driver:
        handle = await driver.probe(0)
        before = len(bus.sent)
        bus.answers["SET_DEVICE_STATUS"] = lambda m: m.respond(status=0xF)

        def poll(message):
            status_now = left.pop(0)
            if not left:
                del bus.answers["SET_DEVICE_STATUS"], bus.answers["GET_DEVICE_STATUS"]
                device.reset()
            return message.respond(status=status_now)

        bus.answers["GET_DEVICE_STATUS"] = poll
        await handle.bring_up(rings=driver.rings)
        told = bus.sent[before:]
        assert [m.name for m in told[:5]] == ["SET_DEVICE_STATUS"] + ["GET_DEVICE_STATUS"] * 4
        assert told[0].status == 0 and device.running
        # An end of the polling, too.
        bus.answers["SET_DEVICE_STATUS"] = bus.answers["GET_DEVICE_STATUS"] = status(0xF)
        with pytest.raises(DriverError, match="status is 0x0f after reset: must be 0"):
            await handle.reset()
        assert len(bus.sent) < before + len(told) + 200


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
async def test_silence_at_every_step(step):
    """The step fails in bounded time, nothing follows it, and a probe from the start recovers."""
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
        # Late answers of before are nobody's.
        bus.give(
            next(m for m in bus.sent if m.name == "GET_DEVICE_INFO").respond(
                **info()(bus.sent[0]).fields
            )
        )
        await settle()
        assert driver.unclaimed == {Unclaimed.UNMATCHED: 1}


async def test_needs_reset_is_followed_by_a_reset():
    """What is under way fails; the driver resets the device and brings it up as it was."""
    device = EntropyDevice()
    async with PureSystem([{0: device}], revision="r1") as system:
        driver, memory = system.drivers[0], system.host.memory
        path = await EntropyDriver.probe(driver, 0, memory, queue_size=8, ring_features=0)
        good, device._link = device._link, None
        reading = asyncio.create_task(path.read(4))
        await settle(100)
        device.needs_reset()
        await system.device_side.transports[0].notify_config(0)
        with pytest.raises(DeviceFailedError, match="device 0: it asks for a reset"):
            await reading
        with pytest.raises(DeviceFailedError):
            await path.read(4)
        device._link = good
        sent = []
        system.device_side.observers.append(lambda way, fifo, raw: sent.append(raw[:9]))
        again = await path.again()
        # Device information, then a status of 0.
        requests = [raw for raw in sent if not raw[0] & 1]
        assert requests[0][1] == 2 and (requests[1][1], requests[1][8]) == (8, 0)
        assert len(await again.read(4)) == 4 and device.status == 0xF
        assert again.device.rings[0].size == 8 and not again.device.features & RING_FEATURES
        with pytest.raises(DeviceFailedError):
            await path.read(4)
        # The one that was given up listens no more.
        assert len(driver.event_callbacks) == 1


async def test_status_events_without_needs_reset():
    """Other statuses, and those of other devices, give nothing up."""
    async with PureSystem([{0: EntropyDevice(), 1: EntropyDevice()}], revision="r1") as system:
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


async def test_a_lost_notification_is_a_failure_that_a_reset_recovers():
    """EVENT_USED or EVENT_AVAIL that never arrives: a named error in bounded time, then a reset."""
    device = EntropyDevice()
    async with PureSystem([{0: device}], revision="r1") as system:
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
            with pytest.raises(TransferTimeoutError, match="device 0, queue 0: no buffer came"):
                await path.read(4)
            bus.send, side.send = send, give
            path = await path.again()
            assert len(await path.read(4)) == 4


async def _drop(raw):
    pass


# Devices that are gone


async def test_requests_of_a_device_that_is_removed():
    """Those under way and those to come fail at once and without traffic; others go on."""
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
        # A number that comes back is a device again; the bus itself was never gone.
        assert await driver.discover() == [0, 1]
        bus.give(device_event(0, DeviceState.ADDED))
        assert await driver.wait_device(DeviceState.ADDED, 1e4) == 0
        del bus.answers["GET_DEVICE_STATUS"]
        await driver.probe(0)


async def test_a_device_whose_return_was_not_told():
    """ADDED may be lost in a reset of the function; a query that finds the number will do."""
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
        # A removal right behind the answer is newer than what it says.
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
async def test_transfers_of_a_device_that_is_removed(kind):
    """They end with a named error; another device's go on; the number may be used again."""
    device = EntropyDevice() if kind is EntropyDriver else ConsoleDevice()
    async with PureSystem([{0: device, 1: EntropyDevice()}], revision="r1") as system:
        driver, memory = system.drivers[0], system.host.memory
        path = await kind.probe(driver, 0, memory, timeout_us=1e6)
        other = await EntropyDriver.probe(driver, 1, memory)
        device._link = None
        use = (lambda: path.read(4)) if kind is EntropyDriver else path.read
        reading = asyncio.create_task(use())
        await settle(100)
        assert not reading.done()
        await system.device_side.unplug(0, 0)
        with pytest.raises(DeviceFailedError, match="device 0: it was removed"):
            await reading
        with pytest.raises(DeviceFailedError):
            await use()
        with pytest.raises(NoDeviceError):
            await path.again()
        assert len(await other.read(8)) == 8
        assert await system.device_side.plug(0, EntropyDevice(), 0) == 0
        assert await driver.wait_device(DeviceState.ADDED, 1e4) == 0
        assert len(await (await EntropyDriver.probe(driver, 0, memory)).read(4)) == 4


class SlowMemory:
    """Host memory whose writes take a microsecond of the loop's time."""

    def __init__(self, memory):
        self._memory = memory
        self.allocate, self.read = memory.allocate, memory.read

    async def write(self, address, data):
        await asyncio.sleep(1e-6)
        await self._memory.write(address, data)


@pytest.mark.parametrize("change", ["removal", "needs reset"])
async def test_chains_that_are_written_while_their_device_fails(change):
    """They end at once and with its name, as those do that were there before."""
    device, loop = EntropyDevice(), asyncio.get_running_loop()
    async with PureSystem([{0: device}], revision="r1") as system:
        driver, side, memory = system.drivers[0], system.device_side, SlowMemory(system.host.memory)
        path = await DataPath.probe(driver, 0, memory, ring_features=0, timeout_us=1e6)
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
        with pytest.raises(DeviceFailedError, match=r"device 0: it (was removed|asks for a reset)"):
            await writing
        assert loop.time() - started < 1e-3
        assert device.queues[0].notifications == 0


async def test_a_probe_that_fails_leaves_nothing_behind():
    """A device that fails once it runs: nobody goes on listening for it."""

    class Failing(ConsoleDevice):
        def queue_notify(self, index):
            self.needs_reset()
            told.append(asyncio.ensure_future(system.device_side.transports[0].notify_config(0)))

    told = []
    async with PureSystem([{0: Failing()}], revision="r1") as system:
        driver, memory = system.drivers[0], SlowMemory(system.host.memory)
        with pytest.raises(DeviceFailedError, match="device 0: it asks for a reset"):
            await ConsoleDriver.probe(driver, 0, memory, ring_features=0)
        assert told and driver.event_callbacks == []


# Notifications


async def test_notification_of_buffers():
    """EVENT_AVAIL for the queue that got a buffer, with nothing in next_offset."""
    async with PureSystem([{4: NetworkDevice()}], revision="r1") as system:
        told = []
        system.observe(lambda way, fifo, raw: raw[1] == 0x41 and told.append(raw[2:16].hex()))
        path = await DataPath.probe(system.drivers[0], 4, system.host.memory, ring_features=0)
        for index in (1, 0, 0):
            address = system.host.memory.allocate(2048)
            await path.submit(index, *_one(address, index))
        assert told == [
            "040000001000" + "01000000" + "00000000",
            "040000001000" + "00000000" + "00000000",
            "040000001000" + "00000000" + "00000000",
        ]


def _one(address, index):
    buffer = [Buffer(address, 1536 if index == 0 else 72)]
    return ((), buffer) if index == 0 else (buffer, ())


async def test_used_event_of_a_queue():
    """The queue that it names is looked at, and its buffers given back; others wait."""
    device = NetworkDevice()
    async with PureSystem([{0: device}], revision="r1") as system:
        memory, transport = system.host.memory, system.device_side.transports[0]
        path = await DataPath.probe(system.drivers[0], 0, memory, ring_features=0)
        device._link = None
        transfers = [await path.submit(i, *_one(memory.allocate(2048), i)) for i in (0, 1)]
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
        # For nothing new, or a queue that there is not, nothing happens.
        await transport.notify_used(0, 1)
        stray = event("EVENT_USED", revision=R1, vq_index=9)
        await system.device_side.send(0, stray.wire())
        await settle(100)
        assert path.statistics.requests == 2 and await path.device.status() == 0xF


# What makes no sense


async def test_messages_that_make_no_sense():
    """Counted and forgotten: no answer, no event, no change."""
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
            # 8 bytes of data, of which msg_size counts 4, or not even the fields before them.
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


# Resets of the function


async def test_waiting_messages_of_before_a_function_reset():
    """What waits for room when the host resets the function is for a driver that is gone."""
    devices = {0: ConsoleDevice()}
    async with PureSystem([devices], revision="r1") as system:
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
