# SPDX-License-Identifier: BSD-2-Clause
"""Bus messages: discovery of devices, and PING."""

import asyncio
import struct

import pytest
from model_support import settle
from scripted_bus import ScriptedBus, driver_of
from transport_support import Exchange, ask, devices, record_messages

from models.bus import BusTimeoutError, Direction
from models.devices import VirtioDevice
from models.handlers import Drop
from models.messages import R1, V1, decode, request
from models.system import ModelSystem
from models.transport import MAX_DEVICES

WINDOW_DEVICES = (0, 3, 7, 8, 9, 30, 31)


def window_exchange(dialect):
    return Exchange({n: VirtioDevice() for n in WINDOW_DEVICES}, dialect)


@pytest.mark.parametrize("offset", [0, 1, 3, 5, 7, 8, 23, 31, 32, 33, 0xFFFF])
def test_get_devices_is_a_window(dialect, offset):
    """The response has one bit per device number from the offset on, up to the last number.

    A request for more numbers than exist returns those that exist (D-01).
    """
    for num in (0, 1, 7, 8, 9, 31, 32, 33, 40, 280, 400, 0xFFF8, 0xFFFF):
        exchange = window_exchange(dialect)
        ask(exchange, "BUS_GET_DEVICES", token=9, offset=offset, num=num)
        (raw,) = exchange.sent
        type_bits, msg_id, dev_num, token, msg_size = struct.unpack_from("<BBHHH", raw)
        assert (type_bits, msg_id, dev_num, token) == (3, 2, 0, 9)
        echoed, *words = struct.unpack_from("<HHH", raw, 8)
        slots, following = words if dialect is V1 else reversed(words)
        assert echoed == offset
        assert slots == min(num, max(0, MAX_DEVICES - offset))
        # One byte for eight devices (D-02).
        assert msg_size == 14 + -(-slots // 8)
        found = {n for n in WINDOW_DEVICES if offset <= n < offset + slots}
        # All bits of the bitmap: those after the last number are zero.
        assert int.from_bytes(raw[14:msg_size], "little") == sum(1 << n - offset for n in found)
        end = offset + slots
        assert following == (end if slots and end < MAX_DEVICES else 0)


def test_windows_cover_every_device_once(dialect):
    """A driver that follows next_offset finds every device, and ends."""
    for num in (*range(1, 33), 400):
        exchange = window_exchange(dialect)
        found, offset, asked = [], 0, 0
        while offset or not asked:
            answer = ask(exchange, "BUS_GET_DEVICES", offset=offset, num=num)
            bits = int.from_bytes(answer.bitmap, "little")
            found += [offset + k for k in range(answer.num) if bits >> k & 1]
            offset, asked = answer.next_offset, asked + 1
            assert asked <= 32
        assert tuple(found) == WINDOW_DEVICES


@pytest.mark.parametrize("data", [0, 1, 0xDEAD_BEEF, 0xFFFF_FFFF])
async def test_pings_in_both_directions(dialect, data):
    async with ModelSystem([devices()], revision=dialect) as system:
        sent, received = record_messages(system)
        await system.drivers[0].ping(data)
        asked, answer = (decode(raw, dialect) for _, raw in received)
        assert (asked.data, answer.data, answer.token) == (data, data, asked.token)
        ping = request("BUS_PING", revision=dialect, token=0xABCD, data=data)
        await system.device_side.send(0, ping.wire())
        await settle(100)
        direction, raw = received[-1]
        assert direction is Direction.TO_DEVICE and decode(raw, dialect) == ping.respond(data=data)
        assert system.drivers[0].pings_answered == 1
        # Responses are not answered.
        assert len(sent) == len(received) == 4
        assert system.device_side.transports[0].drops == {Drop.NOT_FOR_DEVICE: 1}


async def test_pings_while_the_driver_queue_is_full():
    """Pings without space in time, or beyond the queue of pings, are lost; others are answered."""
    bus = ScriptedBus(R1)
    async with driver_of(bus) as driver:
        send, space, tries = bus.send, asyncio.Event(), []

        async def send_when_space(raw):
            tries.append(raw)
            await space.wait()
            if len(tries) == 1:
                raise BusTimeoutError("driver queue of FIFO 0 is full")
            await send(raw)

        bus.send = send_when_space
        pings = [request("BUS_PING", revision=R1, token=n, data=n) for n in range(1, 21)]
        for ping in pings:
            bus.give(ping)
            await settle(5)
        assert bus.sent == [] and len(tries) == 1 and driver.pings_lost == 3
        space.set()
        await settle(50)
        # The first timed out; sixteen of the other 19 could wait.
        answers = [ping.respond(data=ping.data) for ping in pings[4:]]
        assert bus.sent == answers
        assert (driver.pings_answered, driver.pings_lost) == (16, 4)
