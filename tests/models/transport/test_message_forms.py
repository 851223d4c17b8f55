# SPDX-License-Identifier: BSD-2-Clause
"""Transport revision 1, rules for every message: rows COM of docs/conformance.md."""

import asyncio
import struct

import pytest
from model_support import Exchange, settle
from scenarios import devices, programs
from scripted_bus import driver_of
from transport_support import DeviceBus, every_request

from models.bus import Direction
from models.devices import ConsoleDevice
from models.driver import Unclaimed
from models.handlers import Drop
from models.messages import R1, MessageKind, decode, event
from models.system import ModelSystem

BUS, RESPONSE, EVENT = 2, 1, 0x40


@pytest.mark.parametrize("max_size", [52, 64])
@pytest.mark.parametrize("scenario", ["bring_up", "move_data", "come_and_go"])
async def test_every_message_is_well_formed(scenario, max_size):
    """Check headers, sizes and padding of all messages of both sides in several scenarios."""
    dialect = R1.on_bus(max_size=max_size)
    async with ModelSystem(devices(1), revision=dialect) as system:
        sent = []
        system.observe(
            lambda way, fifo, raw: way is Direction.TO_DEVICE and sent.append((way, raw))
        )
        system.device_side.observers.append(
            lambda way, fifo, raw: way is Direction.TO_DRIVER and sent.append((way, raw))
        )
        await asyncio.gather(*programs(scenario, system))
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
        assert msg_size <= len(raw) <= max_size
        message = decode(raw, dialect)
        assert msg_size == message.layout.exact_size(message.fields)
        assert raw[msg_size:] == bytes(len(raw) - msg_size)


@pytest.mark.parametrize("type_bits", range(0, 256, 4))
async def test_reserved_type_bits_have_no_effect(type_bits):
    def marked(raw):
        return bytes([raw[0] | type_bits]) + raw[1:]

    plain, odd = Exchange({0: ConsoleDevice()}, R1), Exchange({0: ConsoleDevice()}, R1)
    for message in every_request():
        await plain.transport.receive(message.wire())
        await odd.transport.receive(marked(message.wire()))
    assert odd.sent == plain.sent and len(odd.sent) == 11

    bus = DeviceBus({0: ConsoleDevice()})
    give = bus.give
    bus.give = lambda raw: give(marked(raw))
    async with driver_of(bus) as driver:
        assert await driver.discover() == [0]
        device = await driver.probe(0)
        bus.give(event("EVENT_USED", revision=R1, dev_num=0, vq_index=1).wire())
        assert await device.wait_used(1, 1000) is not None
        assert not driver.unclaimed


async def test_undefined_ids_are_dropped():
    """Undefined IDs of bus and transport messages are dropped without an effect."""
    known = {
        (layout.bus * BUS | (layout.kind is MessageKind.RESPONSE) * RESPONSE, layout.msg_id)
        for layout in R1.messages
    }
    exchange = Exchange({0: ConsoleDevice()}, R1)
    bus = DeviceBus({0: ConsoleDevice()})
    unknown = 0
    async with driver_of(bus) as driver:
        for type_bits in range(4):
            for msg_id in range(256):
                if (type_bits, msg_id) not in known:
                    unknown += 1
                    raw = struct.pack("<BBHHH", type_bits, msg_id, 0, 1, 64) + b"\1" * 56
                    await exchange.transport.receive(raw)
                    bus.give(raw)
        await settle()
        assert unknown == 4 * 256 - 30
        assert driver.unclaimed == {Unclaimed.MALFORMED: unknown} and bus.sent == []
    assert exchange.transport.drops == {Drop.UNKNOWN: unknown} and exchange.sent == []
    assert exchange.transport.devices[0].status == 0
