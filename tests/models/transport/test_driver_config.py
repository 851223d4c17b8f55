# SPDX-License-Identifier: BSD-2-Clause
"""Configuration accesses of a driver."""

import pytest
from model_support import settle
from scripted_bus import driver_of
from transport_support import STRICT, DeviceBus, Plain, config_event, device_event

from models.devices import ConsoleDevice
from models.driver import ConfigError
from models.drivers import ConsoleDriver
from models.messages import R1, DeviceState
from models.system import ModelSystem


@pytest.mark.parametrize(
    ("offset", "size"), [(0, 61), (60, 1), (59, 2), (61, 0), (0xFFFF_FFFF, 2), (-1, 1)]
)
async def test_accesses_outside_configuration_space_are_refused(offset, size):
    """Accesses outside fail before a message is sent; the last byte is accessible."""
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
    chunk = max_size - 20
    assert [(m.offset, m.length) for m in bus.of("SET_CONFIG")] == [(0, chunk), (chunk, 60 - chunk)]
    reads = [(m.offset, m.length) for m in bus.of("GET_CONFIG") if m.length]
    assert reads == [(0, chunk), (chunk, 60 - chunk)]
    assert all(m.msg_size <= max_size for m in bus.sent)


@pytest.mark.parametrize("strict", [False, True])
async def test_generation_of_a_write(strict):
    """Baseline: 0. Strict: the newest known generation, also between pieces of a long write."""
    device = Plain()
    device.generation = 40
    bus = DeviceBus({0: device}, STRICT if strict else R1)
    async with driver_of(bus) as driver:
        handle = await driver.device(0)
        await handle.write_config(0, bytes(60))
        await handle.write_config(0, b"again")
        # Writing the same bytes again does not change the generation.
        await handle.write_config(0, b"again")
        assert device.read_config(0, 60) == b"again" + bytes(55)
    generations = [message.generation for message in bus.of("SET_CONFIG")]
    assert generations == ([40, 41, 42, 43] if strict else [0] * 4)
    # A read of 0 bytes gets the generation before the first write.
    assert [m.name for m in bus.sent[1:3]] == (
        ["GET_CONFIG", "SET_CONFIG"] if strict else ["SET_CONFIG"] * 2
    )


async def test_profile_depends_on_the_bus_only():
    """Feature bit 0 of a device does not make the bus strict."""
    for dialect, generation in ((R1, 0), (STRICT, 7)):
        device = Plain(features=1)
        device.generation = 7
        bus = DeviceBus({0: device}, dialect)
        async with driver_of(bus) as driver:
            handle = await driver.probe(0, features=1)
            assert handle.features & 1
            await handle.write_config(0, b"x")
        assert [message.generation for message in bus.of("SET_CONFIG")] == [generation]


async def test_generation_of_an_event_is_used():
    """The generation of an event replaces an earlier one."""
    device = Plain()
    bus = DeviceBus({0: device}, STRICT)
    async with driver_of(bus) as driver:
        handle = await driver.probe(0)
        await handle.read_config(0, 4)
        device.update_config(8, b"new")
        await bus.transport.notify_config(0)
        await settle()
        await handle.write_config(0, b"x")
        # An event of another device is ignored.
        other = config_event(99)
        bus.give(other.dialect.message("EVENT_CONFIG", "event", dev_num=1, **other.fields))
        await settle()
        await handle.write_config(0, b"y")
    assert [message.generation for message in bus.of("SET_CONFIG")] == [1, 2]


async def test_strict_refusal_is_followed_by_a_read():
    """After a refused write, the driver reads the generation and writes again."""
    device = Plain()
    bus = DeviceBus({0: device}, STRICT)
    async with driver_of(bus) as driver:
        handle = await driver.device(0)
        await handle.read_config(0, 4)
        device.update_config(8, b"new")
        before = len(bus.sent)
        await handle.write_config(0, b"x")
        sent = [(m.name, m.fields.get("generation")) for m in bus.sent[before:]]
        assert sent == [("SET_CONFIG", 0), ("GET_CONFIG", None), ("SET_CONFIG", 1)]
        assert device.read_config(0, 1) == b"x"
        # A write refused for another reason is not repeated.
        device._writable = range(0)
        before = len(bus.sent)
        with pytest.raises(ConfigError, match="cannot write configuration at 3, 2 bytes"):
            await handle.write_config(3, b"no")
        assert len(bus.sent) == before + 1
        # The number of repetitions is limited.
        device._writable = range(60)
        bus.transport._device_handlers._handlers["SET_CONFIG"] = _always_stale
        with pytest.raises(ConfigError, match="cannot write"):
            await handle.write_config(3, b"no")
        assert len(bus.sent) < before + 30


def _always_stale(message, device):
    return message.respond(generation=message.generation + 1, offset=message.offset, data=b"")


async def test_generation_may_decrease():
    """Any different generation is new, even a smaller one."""
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


async def test_generation_is_read_again_after_a_reset():
    """After a reset the same generation may stand for other contents, so it is read again."""
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
        # The same after the device was removed and added.
        for state in (DeviceState.REMOVED, DeviceState.ADDED):
            bus.give(device_event(0, state))
        await settle()
        before = len(bus.sent)
        await handle.write_config(0, b"c")
        assert [m.name for m in bus.sent[before:]] == ["GET_CONFIG", "SET_CONFIG"]


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("written", [1, 3])
async def test_partial_write_is_an_error(strict, written):
    """A response with a partial length is an error, and the write is not repeated."""

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
async def test_refused_baseline_write_is_not_repeated(generation):
    """A baseline write cannot be refused for its generation, so it is not repeated."""
    device = Plain()
    device._writable, device.generation = range(0), generation
    bus = DeviceBus({0: device})
    async with driver_of(bus) as driver:
        handle = await driver.device(0)
        with pytest.raises(ConfigError, match="cannot write configuration at 0, 4 bytes"):
            await handle.write_config(0, b"data")
    assert len(bus.of("SET_CONFIG")) == 1


@pytest.mark.parametrize("changes", [0, 1, 5])
async def test_multi_part_reads_are_consistent(changes):
    """A change during a long read is visible in all pieces or in none."""
    device = Plain()
    bus = DeviceBus({0: device}, STRICT)
    take, remaining = bus.transport.receive, changes

    async def receive(raw):
        nonlocal remaining
        await take(raw)
        if bus.sent[-1].name == "GET_CONFIG" and bus.sent[-1].length and remaining:
            remaining -= 1
            device.update_config(0, bytes([200 + remaining]) * 60)

    bus.transport.receive = receive
    async with driver_of(bus) as driver:
        handle = await driver.device(0)
        data = await handle.read_config(0, 60)
        assert data == device.read_config(0, 60) and remaining == 0
        # The next write has the current generation.
        before = len(bus.of("SET_CONFIG"))
        await handle.write_config(0, bytes(60))
        assert [m.generation for m in bus.of("SET_CONFIG")[before:]] == [changes, changes + 1]


async def test_configuration_is_read_after_its_event():
    """The driver caches no configuration: each access reads it from the device."""
    device = ConsoleDevice()
    async with ModelSystem([{0: device}], revision="r1") as system:
        driver = system.drivers[0]
        console = await ConsoleDriver.probe(driver, 0, system.host.memory)
        assert await console.size() == (80, 25)
        device.resize(132, 43)
        await system.device_side.transports[0].notify_config(0)
        event = await console.device.wait_config(1e4)
        assert (event.offset, event.length, event.data) == (0, 0, b"")
        assert await console.size() == (132, 43)
        # Transfers continue.
        await console.write(b"still here")
        assert bytes(device.output) == b"still here"
