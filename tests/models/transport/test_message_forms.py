# SPDX-License-Identifier: BSD-2-Clause
"""Form of the messages of both sides, and messages that neither side accepts."""

import asyncio
import struct

import pytest
import scenarios
from model_support import settle
from scripted_bus import driver_of
from transport_support import (
    DeviceBus,
    check_form,
    console,
    device_event,
    devices,
    dropped,
    every_request,
)

from models.bus import Direction
from models.devices import ConsoleDevice
from models.driver import NoDeviceError, Unclaimed
from models.handlers import Drop
from models.messages import R1, V1, DeviceState, event
from models.system import ModelSystem

BUS, RESPONSE, EVENT = 2, 1, 0x40


@pytest.mark.parametrize("bus", [V1, R1.on_bus(max_size=52), R1], ids=["v1", "r1-52", "r1-64"])
@pytest.mark.parametrize("scenario", ["bring_up", "move_data", "come_and_go"])
async def test_every_message_is_well_formed(scenario, bus):
    """Check headers, sizes and padding of all messages of both sides in several scenarios."""
    async with ModelSystem(scenarios.devices(1), revision=bus) as system:
        sent = []
        system.observe(
            lambda way, fifo, raw: way is Direction.TO_DEVICE and sent.append((way, raw))
        )
        system.device_side.observers.append(
            lambda way, fifo, raw: way is Direction.TO_DRIVER and sent.append((way, raw))
        )
        await asyncio.gather(*scenarios.programs(scenario, system))
    assert {way for way, _ in sent} == set(Direction) and len(sent) > 20
    for way, raw in sent:
        type_bits, msg_id, dev_num, _, msg_size = struct.unpack_from("<BBHHH", raw)
        assert type_bits & ~(BUS | RESPONSE) == 0
        if msg_id & EVENT:
            assert not type_bits & RESPONSE
        else:
            starts = not type_bits & RESPONSE
            assert starts == (way is Direction.TO_DEVICE)
        if type_bits & BUS:
            assert dev_num == 0
        assert msg_size <= len(raw) <= bus.max_size
        message = bus.decode(raw)
        assert msg_size == message.layout.exact_size(message.fields)
        assert raw[msg_size:] == bytes(len(raw) - msg_size)


@pytest.mark.parametrize("type_bits", range(0, 256, 4))
async def test_reserved_type_bits_have_no_effect(dialect, type_bits):
    """Both sides ignore them, and send them as zero."""

    def marked(raw):
        return bytes([raw[0] | type_bits]) + raw[1:]

    plain, odd = console(dialect), console(dialect)
    messages = every_request(revision=dialect)
    for message in messages:
        await plain.transport.receive(message.wire())
        await odd.transport.receive(marked(message.wire()))
    assert odd.sent == plain.sent and len(odd.sent) == len(messages)
    for raw in odd.sent:
        check_form(raw, dialect)

    bus = DeviceBus({0: ConsoleDevice()}, dialect)
    give = bus.give
    bus.give = lambda raw: give(marked(raw))
    async with driver_of(bus) as driver:
        assert await driver.discover() == [0]
        device = await driver.probe(0)
        bus.give(event("EVENT_USED", revision=dialect, dev_num=0, index=1).wire())
        assert await device.wait_used(1, 1000) is not None
        assert not driver.unclaimed


async def test_driver_ignores_undefined_ids(dialect):
    """Undefined IDs of bus and transport messages are counted as malformed, without a message."""
    known = {(layout.type_bits, layout.msg_id) for layout in dialect.messages}
    bus = DeviceBus({0: ConsoleDevice()}, dialect)
    unknown = 0
    async with driver_of(bus) as driver:
        for type_bits in range(4):
            for msg_id in range(256):
                if (type_bits, msg_id) not in known:
                    unknown += 1
                    raw = struct.pack("<BBHHH", type_bits, msg_id, 0, 1, dialect.max_size)
                    bus.give(raw.ljust(64, b"\1"))
        await settle()
        assert driver.unclaimed == {Unclaimed.MALFORMED: unknown} and bus.sent == []


def bus_message(type_bits, msg_id, size, body=b"", dev_num=0):
    return (struct.pack("<BBHHH", type_bits, msg_id, dev_num, 5, size) + body).ljust(64, b"\0")


def too_many(dialect):
    """Response for 32 device numbers in a message without a bitmap."""
    fields = (0, 32, 0) if dialect is V1 else (0, 0, 32)
    return bus_message(3, 2, 14, struct.pack("<HHH", *fields))


MALFORMED = {
    "GET_DEVICES with a device number": bus_message(2, 2, 12, bytes(4), dev_num=1),
    "PING with a device number": bus_message(2, 3, 12, bytes(4), dev_num=0x8000),
    "short GET_DEVICES": bus_message(2, 2, 8, bytes(4)),
    "GET_DEVICES without its last byte": bus_message(2, 2, 11, bytes(4)),
    "short PING": bus_message(2, 3, 8),
    "PING without its last byte": bus_message(2, 3, 11, b"\xef\xbe\xad\xde"),
    "PING above the maximum size": bus_message(2, 3, 65, bytes(4)),
    "PING without a size": bus_message(2, 3, 0, bytes(4)),
    "response to PING without its last byte": bus_message(3, 3, 11, bytes(4)),
    "short response to GET_DEVICES": bus_message(3, 2, 12, struct.pack("<HH", 0, 32)),
    "response to GET_DEVICES without its last byte": bus_message(3, 2, 13, bytes(6)),
    "response without its bitmap": too_many,
}
DEVICE_EVENTS = {
    "event without its last byte": bus_message(2, 0x40, 11, struct.pack("<HH", 0, 2)),
    "event with a device number": bus_message(2, 0x40, 12, struct.pack("<HH", 0, 2), dev_num=1),
}
"""Malformed in r1 only."""
TRUNCATED = {"end of PING": bus_message(2, 3, 12)[:11], "two bytes": b"\2\3", "no bytes": b""}


def invalid_bus_messages(dialect):
    malformed = MALFORMED if dialect is V1 else MALFORMED | DEVICE_EVENTS
    for reason, messages in ((Drop.MALFORMED, malformed), (Drop.TRUNCATED, TRUNCATED)):
        for raw in messages.values():
            yield raw(dialect) if callable(raw) else raw, reason


def test_invalid_bus_messages_are_dropped(exchange, dialect):
    for raw, reason in invalid_bus_messages(dialect):
        dropped(exchange, raw, reason)


async def test_driver_ignores_invalid_bus_messages(dialect):
    bus, given = DeviceBus(devices(), dialect), [raw for raw, _ in invalid_bus_messages(dialect)]
    async with driver_of(bus) as driver:
        for raw in given:
            bus.give(raw)
        await settle(100)
        assert driver.unclaimed == {Unclaimed.MALFORMED: len(given)} and bus.sent == []


async def test_undefined_device_states_have_no_effect():
    bus = DeviceBus(devices())
    async with driver_of(bus) as driver:
        for state in (0, 3, 0x7FFF, 0x8000, 0xFFFF):
            bus.give(device_event(0, state))
        await settle()
        assert bus.sent == []
        assert (await driver.device(0)).info.device_id == 4
        bus.give(device_event(0, DeviceState.REMOVED))
        await settle()
        with pytest.raises(NoDeviceError):
            await driver.device(0)
