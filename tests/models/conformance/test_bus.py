# SPDX-License-Identifier: BSD-2-Clause
"""Transport revision 1, what the bus keeps to: rows BUS of docs/conformance.md."""

import asyncio
import random
import struct
from collections import Counter
from uuid import UUID

import pytest
from conformance_support import STRICT, DeviceBus, every_request, start
from model_support import Exchange, ask, settle
from scenarios import pure_traces
from scripted_bus import ScriptedBus, driver_of

from models.bus import BusTimeoutError, Direction, MaximumSizeError
from models.devices import BlockDevice, ConsoleDevice, EntropyDevice, VirtioDevice
from models.driver import Driver, Unclaimed
from models.driver_errors import NoDeviceError, RequestTimeoutError
from models.drivers import EntropyDriver
from models.layout import LAYOUTS, SMALL_PAGES, SPSC_PAGES, QueueLayout, SharedLayout
from models.loopback import PureSystem
from models.messages import (
    R1,
    V1,
    DeviceState,
    Kind,
    TransportFeature,
    UnknownMessageError,
    decode,
    event,
    request,
)
from models.requests import Drop
from models.shell import AMP_PCI
from models.transport import MAX_DEVICES, Transport, TransportError
from sim.amaranth_system import AmaranthSystem

EMPTY = 5


def devices():
    return {0: EntropyDevice(), 3: ConsoleDevice(), 31: BlockDevice(sectors=8)}


def crossing(system):
    """Messages as they enter and leave the bus: those sent and those received, by direction."""
    sent, received = [], []
    system.observe(
        lambda way, fifo, raw: (sent if way is Direction.TO_DEVICE else received).append((way, raw))
    )
    system.device_side.observers.append(
        lambda way, fifo, raw: (sent if way is Direction.TO_DRIVER else received).append((way, raw))
    )
    return sent, received


# Routing


async def test_messages_reach_the_device_that_they_name():
    """All 32 numbers, some there from the start and some announced; each is asked at once."""
    first, later = range(0, 32, 2), range(1, 32, 2)
    made = {n: ConsoleDevice() for n in range(32)}
    for number, device in made.items():
        device.uuid = UUID(int=1000 + number)
    async with PureSystem([{n: made[n] for n in first}], revision="r1") as system:
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
async def test_a_number_of_nobody(number):
    """No device sees the request; whoever asked gets an error, in the time that it was given."""
    async with PureSystem([devices()], revision="r1", timeout_us=5000) as system:
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
            assert not any(queue.given for queue in device.queues)
        assert await driver.discover() == [0, 3, 31]


def test_events_for_nobody():
    """A number, a queue or a moment that is wrong, or an event that only a device sends."""
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
    # One that is right is not answered either.
    assert exchange.ask_bytes(avail(0, 0).wire()) == []
    assert exchange.transport.devices[0].queues[0].notifications == 1


async def test_bytes_cross_untouched():
    """Whatever they are: ids without a message, implementation-defined ones, numbers, tokens."""
    rng = random.Random(11)
    slots = [rng.randbytes(64) for _ in range(40)]
    slots += [bytes([0, msg_id]) + rng.randbytes(62) for msg_id in (0x3F, 0x7F, 0x80, 0xFF)]
    async with PureSystem([devices()], revision="r1") as system:
        bus = system.buses[0]
        system.drivers[0].stop()
        to_device, to_driver = [], []
        system.device_side.observers.append(
            lambda way, fifo, raw: way is Direction.TO_DEVICE and to_device.append(raw)
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


# Parameters


async def test_parameters_are_known_before_the_first_message():
    """Each end has limits and features of its bus though nothing crossed, and the same ones."""
    dialect = STRICT.on_bus(max_size=52)
    async with PureSystem([{31: BlockDevice(sectors=8)}], revision=dialect) as system:
        sent, _ = crossing(system)
        driver = system.drivers[0]
        assert sent == []
        assert (driver.dialect.revision, driver.dialect.max_size) == ("r1", 52)
        assert driver.dialect.features is TransportFeature.STRICT_CONFIG_GENERATION
        # The device's end has them from the same place, and they are in force at once.
        room = driver.dialect.room("GET_CONFIG", Kind.RESPONSE, "data")
        assert room == 32
        for length, answered in ((room, room), (room + 1, 0)):
            answer = await driver.request("GET_CONFIG", dev_num=31, offset=0, length=length)
            assert answer.length == answered
        answer = await driver.request(
            "SET_CONFIG", dev_num=31, generation=77, offset=0, data=bytes(4)
        )
        assert answer.length == 0


def test_parameters_stay():
    for name, value in (("max_size", 52), ("features", TransportFeature(1))):
        with pytest.raises(AttributeError):
            setattr(R1, name, value)
    assert (R1.max_size, R1.features) == (64, TransportFeature.NONE)
    other = R1.on_bus(max_size=52, features=TransportFeature.STRICT_CONFIG_GENERATION)
    assert (R1.max_size, R1.features) == (64, TransportFeature.NONE)
    assert (other.max_size, other.features) == (52, TransportFeature.STRICT_CONFIG_GENERATION)


@pytest.mark.parametrize("features", [2, 3, 1 << 31])
def test_transport_features_that_nobody_knows(features):
    with pytest.raises(ValueError, match="nobody knows"):
        R1.on_bus(features=TransportFeature(features))


def test_transport_features_are_no_device_features():
    """Device feature bit 0 is the device type's, and the bus's bit 0 shows in no block."""
    offers = []
    for dialect in (R1, STRICT):
        exchange = Exchange({0: VirtioDevice(features=1), 1: VirtioDevice()}, dialect)
        for number in (0, 1):
            fields = {"block_index": 0, "num_blocks": 2}
            offers.append(ask(exchange, "GET_DEVICE_FEATURES", number, **fields).features)
    assert offers == [(1, 3), (0, 3)] * 2
    # Nor does the device's bit make the bus strict.
    exchange = Exchange({0: ConsoleDevice()}, R1)
    assert exchange.transport.devices[0].offered & 1
    start(exchange, features=1)
    assert ask(exchange, "SET_CONFIG", generation=9, offset=8, data=b"A\0\0\0").length == 4


def test_maximum_size_that_is_offered():
    assert 52 <= R1.max_size <= 264
    for layout in LAYOUTS.values():
        assert R1.max_size <= layout.queue.slot_size


WIDE_SLOTS = SharedLayout(name="wide", queue=QueueLayout(slot_size=128, capacity=30))


def test_maximum_size_must_fit_the_slots(monkeypatch):
    """Named, and the same in every system; a layout with larger slots takes it."""
    large = R1.on_bus(max_size=65)
    text = "revision r1: max_size is 65: must be at most 64, a slot of spsc-pages"
    for system in (PureSystem, AmaranthSystem):
        with pytest.raises(MaximumSizeError, match=text):
            system([devices()], revision=large)
    environment = {
        "TOP": "core",
        "NUM_FIFOS": "1",
        "DATA_WIDTH": "64",
        "COMPLETION_TIMEOUT": "8192",
        "PCI_SHELL": AMP_PCI.name,
        "SHARED_LAYOUT": SPSC_PAGES.name,
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    from testbench.system import GatewareSystem

    with pytest.raises(MaximumSizeError, match=text):
        GatewareSystem(None, [devices()], revision=large)


@pytest.mark.parametrize("max_size", [65, 100, 128])
async def test_larger_slots_take_larger_messages(max_size):
    dialect = R1.on_bus(max_size=max_size)
    async with PureSystem([devices()], revision=dialect, layout=WIDE_SLOTS) as system:
        sent, _ = crossing(system)
        disk = await system.drivers[0].probe(31)
        assert len(await disk.read_config(0, 60)) == 60
        assert max(len(raw) for _, raw in sent) == max_size
    with pytest.raises(MaximumSizeError, match="at most 128, a slot of wide"):
        PureSystem([devices()], revision=R1.on_bus(max_size=129), layout=WIDE_SLOTS)


@pytest.mark.parametrize("max_size", [52, 53, 63, 64])
async def test_smaller_maximum_sizes(max_size):
    """The same limit both ways, and everything works; long accesses take more messages."""
    dialect = R1.on_bus(max_size=max_size)
    for scenario in ("bring_up", "move_data"):
        await pure_traces(scenario, 1, dialect)
    disk = BlockDevice(sectors=8)
    disk._writable = range(60)
    async with PureSystem([{0: disk}], revision=dialect) as system:
        sent, _ = crossing(system)
        handle = await system.drivers[0].device(0)
        data = random.Random(max_size).randbytes(60)
        await handle.write_config(0, data)
        assert await handle.read_config(0, 60) == data
        sizes = {
            way: max(struct.unpack_from("<H", raw, 6)[0] for w, raw in sent if w is way)
            for way in Direction
        }
        assert set(sizes.values()) == {max_size}
        assert all(len(raw) == max_size for _, raw in sent)


def test_messages_of_other_revisions():
    """A bus of revision v1 knows no GET_SHM, and no bus an id of a later revision."""
    shm = request("GET_SHM", revision=R1, shmid=0)
    old = Exchange({0: ConsoleDevice()})
    assert old.ask_bytes(shm.encode().ljust(48, b"\0")) == []
    assert old.transport.drops == {Drop.UNKNOWN: 1}
    with pytest.raises(UnknownMessageError):
        decode(event("BUS_EVENT_DEVICE", revision=R1, device_number=0, device_bus_state=1).wire())
    assert not V1.has("GET_SHM", Kind.REQUEST)
    new = Exchange({0: ConsoleDevice()}, R1)
    for msg_id in (0x0D, 0x3F, 0x43, 0x7F):
        for type_bits in (0, 2):
            raw = struct.pack("<BBHHH", type_bits, msg_id, 0, 1, 64).ljust(64, b"\1")
            assert new.ask_bytes(raw) == []
    assert new.transport.drops == {Drop.UNKNOWN: 8}
    assert new.transport.devices[0].status == 0


# Outcomes and order


async def test_every_request_has_one_outcome():
    """Through queues of four messages; some to nobody. Each is answered once, or fails once."""
    numbers = {0: ConsoleDevice(), 3: ConsoleDevice()}
    async with PureSystem([numbers], revision="r1", layout=SMALL_PAGES, timeout_us=5e4) as system:
        system.drivers[0].stop()
        answered, asked = Counter(), Counter()
        system.observe(
            lambda way, fifo, raw: (asked if way is Direction.TO_DEVICE else answered).update(
                [struct.unpack_from("<BHH", raw[1:])]
            )
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


async def test_requests_keep_their_order():
    """Several at once reach a device in the order of the calls, and are processed in it."""
    console = ConsoleDevice()
    async with PureSystem([{0: console}], revision="r1", layout=SMALL_PAGES) as system:
        system.drivers[0].stop()
        under_way, most = 0, 0

        def count(way, fifo, raw):
            nonlocal under_way, most
            under_way += 1 if way is Direction.TO_DEVICE else -1
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


async def test_answers_in_any_order():
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


def test_tokens_come_back():
    """Any of them, in bus and transport messages, one behind the other."""
    exchange = Exchange(devices(), R1)
    for token in (0, 1, 0xFF, 0x100, 0x8000, 0xFFFF, 0):
        for message in (
            *every_request(3, token),
            request("BUS_PING", revision=R1, token=token, data=token),
            request("BUS_GET_DEVICES", revision=R1, token=token, offset=0, count=8),
        ):
            (answer,) = exchange.ask_bytes(message.wire())
            assert (answer.name, answer.token) == (message.name, token)


class Slow(ConsoleDevice):
    """A device whose reset takes until it is let go."""

    def __init__(self):
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()

    async def still(self):
        await self.gate.wait()


async def test_events_wait_for_no_request():
    """Those of the device come while an answer is owed; the driver's leave while it waits."""
    slow, other = Slow(), ConsoleDevice()
    async with PureSystem([{0: slow, 1: other}], revision="r1") as system:
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


async def test_slots_are_filled_up_with_zeros():
    """In the memory that both ends share, whatever was there before."""
    dialect = R1.on_bus(max_size=52)
    async with PureSystem([devices()], revision=dialect) as system:
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


# GET_DEVICES


WINDOW_DEVICES = (0, 3, 7, 8, 9, 30, 31)


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 31, 32, 33, 400, 0xFFFF])
@pytest.mark.parametrize("offset", [0, 1, 7, 8, 23, 31, 32, 33, 0xFFFF])
def test_windows(offset, count):
    """A bit for each slot from the offset on, up to the end of the numbers; then no more."""
    exchange = Exchange({n: VirtioDevice() for n in WINDOW_DEVICES}, R1)
    ask(exchange, "BUS_GET_DEVICES", token=9, offset=offset, count=count)
    (raw,) = exchange.sent
    type_bits, msg_id, dev_num, token, msg_size = struct.unpack_from("<BBHHH", raw)
    assert (type_bits, msg_id, dev_num, token) == (3, 2, 0, 9)
    echoed, following, slots = struct.unpack_from("<HHH", raw, 8)
    assert echoed == offset
    assert slots == min(count, max(0, MAX_DEVICES - offset))
    assert msg_size == 14 + -(-slots // 8)
    found = {n for n in WINDOW_DEVICES if offset <= n < offset + slots}
    # All bits of it: those behind the last slot are zero.
    assert int.from_bytes(raw[14:msg_size], "little") == sum(1 << n - offset for n in found)
    if following:
        assert following == offset + slots > offset
    elif count:
        assert not any(n >= offset + slots for n in WINDOW_DEVICES)


@pytest.mark.parametrize("count", [1, 5, 8, 31, 32, 400])
def test_windows_show_every_device(count):
    exchange = Exchange({n: VirtioDevice() for n in WINDOW_DEVICES}, R1)
    found, offset, asked = [], 0, 0
    while offset or not asked:
        answer = ask(exchange, "BUS_GET_DEVICES", offset=offset, count=count)
        bits = int.from_bytes(answer.bitmap, "little")
        found += [offset + k for k in range(answer.count) if bits >> k & 1]
        offset, asked = answer.next_offset, asked + 1
        assert asked <= 32
    assert tuple(found) == WINDOW_DEVICES


# PING


@pytest.mark.parametrize("data", [0, 1, 0xDEAD_BEEF, 0xFFFF_FFFF])
async def test_pings_of_either_side(data):
    async with PureSystem([devices()], revision="r1") as system:
        sent, received = crossing(system)
        await system.drivers[0].ping(data)
        asked, answer = (decode(raw, R1) for _, raw in received)
        assert (asked.data, answer.data, answer.token) == (data, data, asked.token)
        ping = request("BUS_PING", revision=R1, token=0xABCD, data=data)
        await system.device_side.send(0, ping.wire())
        await settle(100)
        way, raw = received[-1]
        assert way is Direction.TO_DEVICE and decode(raw, R1) == ping.respond(data=data)
        assert system.drivers[0].pings_answered == 1
        # Nobody answers an answer.
        assert len(sent) == len(received) == 4


async def test_pings_while_the_driver_queue_is_full():
    """Those that find no room in time, or too many before them, are lost; later ones are not."""
    bus = ScriptedBus(R1)
    async with driver_of(bus) as driver:
        send, room, tries = bus.send, asyncio.Event(), []

        async def send_when_room(raw):
            tries.append(raw)
            await room.wait()
            if len(tries) == 1:
                raise BusTimeoutError("driver queue of FIFO 0 is full")
            await send(raw)

        bus.send = send_when_room
        pings = [request("BUS_PING", revision=R1, token=n, data=n) for n in range(1, 21)]
        for ping in pings:
            bus.give(ping)
            await settle(5)
        assert bus.sent == [] and len(tries) == 1 and driver.pings_lost == 3
        room.set()
        await settle(50)
        # The first found no room; of the 19 behind it sixteen could wait.
        answers = [ping.respond(data=ping.data) for ping in pings[4:]]
        assert bus.sent == answers
        assert (driver.pings_answered, driver.pings_lost) == (16, 4)


# EVENT_DEVICE


class Asking:
    """A transport whose every event is followed, before anything else, by a request."""

    def __init__(self, devices):
        self.told = []
        self.answers = []
        self.transport = Transport(devices, self._send, R1)

    async def _send(self, raw):
        message = decode(raw, R1)
        if message.kind is Kind.RESPONSE:
            self.answers.append((message.dev_num, message.device_id))
            return
        assert message.name == "BUS_EVENT_DEVICE" and message.dev_num == 0
        self.told.append((message.device_number, message.device_bus_state))
        info = request("GET_DEVICE_INFO", revision=R1, dev_num=message.device_number)
        await self.transport.receive(info.wire())


async def test_a_device_is_announced_when_it_can_be_asked():
    asking = Asking({0: EntropyDevice()})
    assert await asking.transport.plug(ConsoleDevice()) == 1
    assert await asking.transport.plug(BlockDevice(), 31) == 31
    assert asking.told == [(1, DeviceState.ADDED), (31, DeviceState.ADDED)]
    assert asking.answers == [(1, 3), (31, 2)] and not asking.transport.drops


async def test_removal_is_told_when_the_device_is_gone():
    """Its queues are reset, its last access to memory is back, and its number is nobody's."""
    slow = Slow()
    asking = Asking({0: EntropyDevice(), 4: slow})
    slow.write_status(1)
    slow.gate.clear()
    unplugging = asyncio.create_task(asking.transport.unplug(4))
    await settle()
    assert asking.told == [] and slow.status == 0
    slow.gate.set()
    assert await unplugging is slow
    assert asking.told == [(4, DeviceState.REMOVED)]
    assert asking.answers == [] and asking.transport.drops == {Drop.NO_DEVICE: 1}


async def test_a_number_is_taken_until_its_removal_is_told():
    """REMOVED after the next device's ADDED would take that one away from the driver."""
    slow = Slow()
    asking = Asking({n: slow if n == 4 else EntropyDevice() for n in range(32)})
    slow.gate.clear()
    unplugging = asyncio.create_task(asking.transport.unplug(4))
    await settle()
    for number in (4, None):
        with pytest.raises(TransportError, match="taken"):
            await asking.transport.plug(ConsoleDevice(), number)
    slow.gate.set()
    await unplugging
    assert await asking.transport.plug(ConsoleDevice()) == 4
    assert asking.told == [(4, DeviceState.REMOVED), (4, DeviceState.ADDED)]
    # Nor does it stay taken when whoever unplugs it does not wait.
    slow.gate.clear()
    asking.transport.devices[7] = slow
    unplugging = asyncio.create_task(asking.transport.unplug(7))
    await settle()
    unplugging.cancel()
    await settle()
    assert await asking.transport.plug(ConsoleDevice(), 7) == 7


async def test_nobody_is_announced():
    asking = Asking({0: EntropyDevice()})
    for number in (1, EMPTY, 32):
        for change in (asking.transport.announce, asking.transport.unplug):
            with pytest.raises(TransportError, match=f"device number is {number}"):
                await change(number)
    for number in (0, 32, -1):
        with pytest.raises(TransportError, match=f"device number is {number}"):
            await asking.transport.plug(ConsoleDevice(), number)
    assert asking.told == []


async def test_numbers_are_unique_and_rest():
    asking = Asking({0: EntropyDevice(), 1: EntropyDevice()})
    await asking.transport.unplug(0)
    # Not the one that was free a moment ago, as long as there is another.
    numbers = [await asking.transport.plug(ConsoleDevice()) for _ in range(31)]
    assert numbers == [*range(2, 32), 0]
    with pytest.raises(TransportError, match="all 32 device numbers are taken"):
        await asking.transport.plug(ConsoleDevice())
    for number in (7, 3, 20):
        await asking.transport.unplug(number)
    assert [await asking.transport.plug(ConsoleDevice()) for _ in range(3)] == [7, 3, 20]


# Messages that make no sense


def bus_message(type_bits, msg_id, size, body=b"", dev_num=0):
    return (struct.pack("<BBHHH", type_bits, msg_id, dev_num, 5, size) + body).ljust(64, b"\0")


NONSENSE = [
    bus_message(2, 2, 12, bytes(4), dev_num=1),
    bus_message(2, 3, 12, bytes(4), dev_num=0x8000),
    bus_message(2, 2, 11, bytes(4)),
    bus_message(2, 3, 8),
    bus_message(2, 3, 65, bytes(4)),
    bus_message(2, 3, 0, bytes(4)),
    bus_message(3, 3, 11, bytes(4)),
    bus_message(3, 2, 13, bytes(6)),
    # 32 slots in a message with room for none.
    bus_message(3, 2, 14, struct.pack("<HHH", 0, 0, 32)),
    bus_message(2, 0x40, 11, struct.pack("<HH", 0, 2)),
    bus_message(2, 0x40, 12, struct.pack("<HH", 0, 2), dev_num=1),
    bus_message(3, 0x40, 12, struct.pack("<HH", 0, 2)),
    *(bus_message(2, msg_id, 64) for msg_id in (0, 1, 4, 0x3F, 0x41, 0x80, 0xC0, 0xFF)),
    bus_message(2, 3, 12)[:11],
    b"\2\3",
    b"",
]


async def test_bus_messages_that_make_no_sense():
    exchange = Exchange(devices(), R1)
    for raw in NONSENSE:
        await exchange.transport.receive(raw)
    assert exchange.sent == [] and exchange.transport.drops.total() == len(NONSENSE)
    assert list(exchange.transport.devices) == [0, 3, 31]
    bus = DeviceBus(devices())
    async with driver_of(bus) as driver:
        for raw in NONSENSE:
            bus.give(raw)
        await settle(100)
        assert driver.unclaimed == {Unclaimed.MALFORMED: len(NONSENSE)} and bus.sent == []
        # States that nobody defined say nothing of a device.
        for state in (0, 3, 0x7FFF, 0x8000, 0xFFFF):
            fields = {"device_number": 0, "device_bus_state": state}
            bus.give(event("BUS_EVENT_DEVICE", revision=R1, **fields))
        await settle()
        assert bus.sent == []
        assert (await driver.device(0)).info.device_id == 4
        bus.give(event("BUS_EVENT_DEVICE", revision=R1, device_number=0, device_bus_state=2))
        await settle()
        with pytest.raises(NoDeviceError):
            await driver.device(0)


# Notifications and signals


async def test_every_notification_crosses_once():
    """As many messages as notifications, both ways; no end makes one of its own."""
    async with PureSystem([{0: EntropyDevice(), 3: ConsoleDevice()}], revision="r1") as system:
        sent, received = crossing(system)
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
        messages = [(way, decode(raw, R1)) for way, raw in received]
        counts = Counter((way, m.name, m.dev_num) for way, m in messages if m.kind is Kind.EVENT)
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


async def test_signals_without_a_message():
    """Doorbells and interrupts of nothing make no message and no event at either end."""
    async with PureSystem([devices()], revision="r1") as system:
        driver, called = system.drivers[0], []
        driver.event_callbacks.append(called.append)
        await driver.probe(3)
        sent, received = crossing(system)
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


async def test_used_notifications_wait_for_room():
    """With no room for them at all: what is used is told of when there is room, without loss."""
    entropy, choices = EntropyDevice(), {"layout": SMALL_PAGES, "dma_latency_us": 50.0}
    async with PureSystem([{0: entropy}], revision="r1", **choices) as system:
        driver, transport = system.drivers[0], system.device_side.transports[0]
        path = await EntropyDriver.probe(driver, 0, system.host.memory, ring_features=0)
        driver.stop()
        reads = [asyncio.create_task(path.read(8)) for _ in range(6)]
        await asyncio.sleep(2e-5)
        assert entropy.queues[0].notifications == 6 and entropy.given == 0
        for _ in range(4):
            await transport.notify_config(0)
        assert not system.endpoint.device_queue_ready(0)
        await asyncio.sleep(0.005)
        # The device did its work, though it could not say so.
        assert entropy.given == 48 and not any(read.done() for read in reads)
        await driver.start()
        assert [len(await read) for read in reads] == [8] * 6
