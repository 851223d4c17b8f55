# SPDX-License-Identifier: BSD-2-Clause
"""Transport revision 1, messages and parameters of a bus: rows BUS of docs/conformance.md."""

import asyncio
import random
import struct
from uuid import UUID

import pytest
from model_support import Exchange, ask, settle
from scenarios import pure_traces
from transport_support import EMPTY, STRICT, devices, every_request, record_messages, start

from models.bus import Direction, MaximumSizeError
from models.devices import BlockDevice, ConsoleDevice, VirtioDevice
from models.driver import RequestTimeoutError
from models.handlers import Drop
from models.layout import LAYOUTS, SPSC_PAGES, QueueLayout, SharedLayout
from models.messages import (
    R1,
    V1,
    DeviceState,
    MessageKind,
    TransportFeature,
    UnknownMessageError,
    decode,
    event,
    request,
)
from models.shell import AMP_PCI
from models.system import ModelSystem
from sim.lab.amaranth_system import AmaranthSystem


async def test_messages_reach_the_addressed_device():
    """All 32 device numbers work, whether present from the start or added later."""
    first, later = range(0, 32, 2), range(1, 32, 2)
    made = {n: ConsoleDevice() for n in range(32)}
    for number, device in made.items():
        device.uuid = UUID(int=1000 + number)
    async with ModelSystem([{n: made[n] for n in first}], revision="r1") as system:
        driver = system.drivers[0]
        assert await driver.discover() == list(first)
        for number in later:
            await system.device_side.plug(0, made[number], number)
        added = [await driver.wait_device(DeviceState.ADDED, 1e4) for _ in later]
        assert added == list(later)
        assert await driver.discover() == list(range(32))
        for number in range(32):
            handle = await driver.device(number)
            assert handle.info.uuid == made[number].uuid
            await handle.write_config(8, bytes([number, 0, 0, 0]))
        assert [bytes(made[n].output) for n in range(32)] == [bytes([n]) for n in range(32)]


@pytest.mark.parametrize("number", [EMPTY, 30, 32, 0x100, 0xFFFF])
async def test_request_to_an_absent_device_times_out(number):
    """No device handles the request, and it fails after exactly its timeout."""
    async with ModelSystem([devices()], revision="r1", timeout_us=5000) as system:
        driver, loop = system.drivers[0], asyncio.get_running_loop()
        transport = system.device_side.transports[0]
        for device in transport.devices.values():
            device.write_status(1)
        for n, message in enumerate(every_request(number), 1):
            before = loop.time()
            with pytest.raises(RequestTimeoutError, match=f"device {number}: no response"):
                await driver.request(message.name, dev_num=number, **message.fields)
            assert loop.time() - before == pytest.approx(0.005)
            assert transport.drops == {Drop.NO_DEVICE: n}
        for device in transport.devices.values():
            assert (device.status, device.selected, device.generation) == (1, 0, 0)
            assert not any(queue.written_fields for queue in device.queues)
        assert await driver.discover() == [0, 3, 31]


def test_invalid_events_are_dropped():
    """Events with a wrong device, queue or state, and events of a device, are dropped."""
    exchange = Exchange(devices(), R1)
    fields = {"next_offset": 0, "next_wrap": 0}

    def avail(dev_num, index):
        return event("EVENT_AVAIL", revision=R1, dev_num=dev_num, vq_index=index, **fields)

    config = {"device_status": 0, "generation": 0, "offset": 0, "length": 0, "data": b""}
    start(exchange)
    before = len(exchange.sent)
    for message in (
        avail(EMPTY, 0),
        avail(0xFFFF, 0),
        avail(0, 1),
        avail(0, 0xFFFF_FFFF),
        avail(3, 0),
        event("EVENT_USED", revision=R1, vq_index=0),
        event("EVENT_CONFIG", revision=R1, **config),
        event("BUS_EVENT_DEVICE", revision=R1, device_number=EMPTY, device_bus_state=1),
        event("BUS_EVENT_DEVICE", revision=R1, device_number=0, device_bus_state=2),
    ):
        assert exchange.ask_bytes(message.wire()) == []
    assert exchange.transport.drops.total() == 9 and len(exchange.sent) == before
    assert list(exchange.transport.devices) == [0, 3, 31]
    # A valid event is handled without a response.
    assert exchange.ask_bytes(avail(0, 0).wire()) == []
    assert exchange.transport.devices[0].queues[0].notifications == 1


async def test_bus_does_not_change_messages():
    """Any bytes are transferred unchanged, including undefined and reserved IDs."""
    rng = random.Random(11)
    slots = [rng.randbytes(64) for _ in range(40)]
    slots += [bytes([0, msg_id]) + rng.randbytes(62) for msg_id in (0x3F, 0x7F, 0x80, 0xFF)]
    async with ModelSystem([devices()], revision="r1") as system:
        bus = system.buses[0]
        system.drivers[0].stop()
        to_device, to_driver = [], []
        system.device_side.observers.append(
            lambda direction, fifo, raw: direction is Direction.TO_DEVICE and to_device.append(raw)
        )
        system.device_side.transports[0].receive = nothing
        for slot in slots:
            await bus.send(slot)
            await system.device_side.send(0, slot)
            to_driver.append(await bus.recv())
        await settle()
        assert to_device == to_driver == slots


async def nothing(raw):
    pass


async def test_parameters_are_known_before_the_first_message():
    """Both sides have the same limits and features of the bus before the first message."""
    dialect = STRICT.on_bus(max_size=52)
    async with ModelSystem([{31: BlockDevice(sectors=8)}], revision=dialect) as system:
        sent, _ = record_messages(system)
        driver = system.drivers[0]
        assert sent == []
        assert (driver.dialect.revision, driver.dialect.max_size) == ("r1", 52)
        assert driver.dialect.features is TransportFeature.STRICT_CONFIG_GENERATION
        # The device side has the same parameters, in force from the first message.
        capacity = driver.dialect.capacity("GET_CONFIG", MessageKind.RESPONSE, "data")
        assert capacity == 32
        for length, answered in ((capacity, capacity), (capacity + 1, 0)):
            answer = await driver.request("GET_CONFIG", dev_num=31, offset=0, length=length)
            assert answer.length == answered
        answer = await driver.request(
            "SET_CONFIG", dev_num=31, generation=77, offset=0, data=bytes(4)
        )
        assert answer.length == 0


def test_bus_parameters_are_read_only():
    for name, value in (("max_size", 52), ("features", TransportFeature(1))):
        with pytest.raises(AttributeError):
            setattr(R1, name, value)
    assert (R1.max_size, R1.features) == (64, TransportFeature.NONE)
    other = R1.on_bus(max_size=52, features=TransportFeature.STRICT_CONFIG_GENERATION)
    assert (R1.max_size, R1.features) == (64, TransportFeature.NONE)
    assert (other.max_size, other.features) == (52, TransportFeature.STRICT_CONFIG_GENERATION)


@pytest.mark.parametrize("features", [2, 3, 1 << 31])
def test_unknown_transport_features_are_refused(features):
    with pytest.raises(ValueError, match="there is no feature"):
        R1.on_bus(features=TransportFeature(features))


def test_transport_features_are_separate_from_device_features():
    """Feature bit 0 of a device and transport feature bit 0 of the bus are independent."""
    offers = []
    for dialect in (R1, STRICT):
        exchange = Exchange({0: VirtioDevice(features=1), 1: VirtioDevice()}, dialect)
        for number in (0, 1):
            fields = {"block_index": 0, "num_blocks": 2}
            offers.append(ask(exchange, "GET_DEVICE_FEATURES", number, **fields).features)
    assert offers == [(1, 0x13), (0, 0x13)] * 2
    # Bit 0 of the device does not make the bus strict either.
    exchange = Exchange({0: ConsoleDevice()}, R1)
    assert exchange.transport.devices[0].offered & 1
    start(exchange, features=1)
    assert ask(exchange, "SET_CONFIG", generation=9, offset=8, data=b"A\0\0\0").length == 4


def test_maximum_size_of_the_endpoint():
    assert 52 <= R1.max_size <= 264
    for layout in LAYOUTS.values():
        assert R1.max_size <= layout.queue.slot_size


WIDE_SLOTS = SharedLayout(name="wide", queue=QueueLayout(slot_size=128, capacity=30))


def test_maximum_size_must_fit_the_slots(monkeypatch):
    """Every system refuses a maximum size above the slot size with the same error."""
    large = R1.on_bus(max_size=65)
    text = "revision r1: max_size is 65: must be at most 64, a slot of spsc-pages"
    for system in (ModelSystem, AmaranthSystem):
        with pytest.raises(MaximumSizeError, match=text):
            system([devices()], revision=large)
    environment = {
        "TOP": "core",
        "NUM_FIFOS": "1",
        "DATA_WIDTH": "64",
        "COMPLETION_TIMEOUT": "8192",
        "PCI_SHELL": AMP_PCI.name,
        "SHARED_LAYOUT": SPSC_PAGES.name,
        "DMA_WINDOW": "1",
        "BLOCK_OPTIONS": "",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    from testbench.system import GatewareSystem

    with pytest.raises(MaximumSizeError, match=text):
        GatewareSystem(None, [devices()], revision=large)


@pytest.mark.parametrize("max_size", [65, 100, 128])
async def test_larger_slots_allow_larger_messages(max_size):
    dialect = R1.on_bus(max_size=max_size)
    async with ModelSystem([devices()], revision=dialect, layout=WIDE_SLOTS) as system:
        sent, _ = record_messages(system)
        disk = await system.drivers[0].probe(31)
        assert len(await disk.read_config(0, 60)) == 60
        assert max(len(raw) for _, raw in sent) == max_size
    with pytest.raises(MaximumSizeError, match="at most 128, a slot of wide"):
        ModelSystem([devices()], revision=R1.on_bus(max_size=129), layout=WIDE_SLOTS)


@pytest.mark.parametrize("max_size", [52, 53, 63, 64])
async def test_smaller_maximum_sizes(max_size):
    """Everything works with a smaller limit; long accesses take more messages."""
    dialect = R1.on_bus(max_size=max_size)
    for scenario in ("bring_up", "move_data"):
        await pure_traces(scenario, 1, dialect)
    disk = BlockDevice(sectors=8)
    disk._writable = range(60)
    async with ModelSystem([{0: disk}], revision=dialect) as system:
        sent, _ = record_messages(system)
        handle = await system.drivers[0].device(0)
        data = random.Random(max_size).randbytes(60)
        await handle.write_config(0, data)
        assert await handle.read_config(0, 60) == data
        sizes = {
            direction: max(struct.unpack_from("<H", raw, 6)[0] for w, raw in sent if w is direction)
            for direction in Direction
        }
        assert set(sizes.values()) == {max_size}
        assert all(len(raw) == max_size for _, raw in sent)


def test_messages_of_other_revisions_are_unknown():
    """GET_SHM is unknown in revision v1, and undefined IDs are unknown in all revisions."""
    shm = request("GET_SHM", revision=R1, shmid=0)
    old = Exchange({0: ConsoleDevice()})
    assert old.ask_bytes(shm.encode().ljust(48, b"\0")) == []
    assert old.transport.drops == {Drop.UNKNOWN: 1}
    with pytest.raises(UnknownMessageError):
        decode(event("BUS_EVENT_DEVICE", revision=R1, device_number=0, device_bus_state=1).wire())
    assert not V1.has("GET_SHM", MessageKind.REQUEST)
    new = Exchange({0: ConsoleDevice()}, R1)
    for msg_id in (0x0D, 0x3F, 0x43, 0x7F):
        for type_bits in (0, 2):
            raw = struct.pack("<BBHHH", type_bits, msg_id, 0, 1, 64).ljust(64, b"\1")
            assert new.ask_bytes(raw) == []
    assert new.transport.drops == {Drop.UNKNOWN: 8}
    assert new.transport.devices[0].status == 0
