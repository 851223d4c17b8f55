# SPDX-License-Identifier: BSD-2-Clause
"""Transport revision 1, a driver and configuration space: rows DRV of docs/conformance.md."""

import pytest
from conformance_support import STRICT, DeviceBus, Plain, config_event, device_event
from model_support import settle
from scripted_bus import driver_of

from models.devices import ConsoleDevice
from models.driver import ConfigError
from models.drivers import ConsoleDriver
from models.messages import R1, DeviceState
from models.system import ModelSystem


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
    async with ModelSystem([{0: device}], revision="r1") as system:
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
