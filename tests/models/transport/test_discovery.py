# SPDX-License-Identifier: BSD-2-Clause
"""Transport revision 1, discovery, PING and hot-plug: rows BUS of docs/conformance.md."""

import asyncio
import struct

import pytest
from model_support import Exchange, ask, settle
from scripted_bus import ScriptedBus, driver_of
from transport_support import EMPTY, SlowDrain, devices, record_messages

from models.bus import BusTimeoutError, Direction
from models.devices import BlockDevice, ConsoleDevice, EntropyDevice, VirtioDevice
from models.handlers import Drop
from models.messages import R1, DeviceState, MessageKind, decode, request
from models.system import ModelSystem
from models.transport import MAX_DEVICES, Transport, TransportError

WINDOW_DEVICES = (0, 3, 7, 8, 9, 30, 31)


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 31, 32, 33, 400, 0xFFFF])
@pytest.mark.parametrize("offset", [0, 1, 7, 8, 23, 31, 32, 33, 0xFFFF])
def test_get_devices_windows(offset, count):
    """The response has one bit per device number from the offset on, up to the last number."""
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
    # All bits of the bitmap: those after the last number are zero.
    assert int.from_bytes(raw[14:msg_size], "little") == sum(1 << n - offset for n in found)
    if following:
        assert following == offset + slots > offset
    elif count:
        assert not any(n >= offset + slots for n in WINDOW_DEVICES)


@pytest.mark.parametrize("count", [1, 5, 8, 31, 32, 400])
def test_windows_cover_every_device(count):
    exchange = Exchange({n: VirtioDevice() for n in WINDOW_DEVICES}, R1)
    found, offset, asked = [], 0, 0
    while offset or not asked:
        answer = ask(exchange, "BUS_GET_DEVICES", offset=offset, count=count)
        bits = int.from_bytes(answer.bitmap, "little")
        found += [offset + k for k in range(answer.count) if bits >> k & 1]
        offset, asked = answer.next_offset, asked + 1
        assert asked <= 32
    assert tuple(found) == WINDOW_DEVICES


@pytest.mark.parametrize("data", [0, 1, 0xDEAD_BEEF, 0xFFFF_FFFF])
async def test_pings_in_both_directions(data):
    async with ModelSystem([devices()], revision="r1") as system:
        sent, received = record_messages(system)
        await system.drivers[0].ping(data)
        asked, answer = (decode(raw, R1) for _, raw in received)
        assert (asked.data, answer.data, answer.token) == (data, data, asked.token)
        ping = request("BUS_PING", revision=R1, token=0xABCD, data=data)
        await system.device_side.send(0, ping.wire())
        await settle(100)
        direction, raw = received[-1]
        assert direction is Direction.TO_DEVICE and decode(raw, R1) == ping.respond(data=data)
        assert system.drivers[0].pings_answered == 1
        # Responses are not answered.
        assert len(sent) == len(received) == 4


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


class InfoRequester:
    """Transport that receives a request immediately after each of its events."""

    def __init__(self, devices):
        self.events = []
        self.answers = []
        self.transport = Transport(devices, self._send, R1)

    async def _send(self, raw):
        message = decode(raw, R1)
        if message.kind is MessageKind.RESPONSE:
            self.answers.append((message.dev_num, message.device_id))
            return
        assert message.name == "BUS_EVENT_DEVICE" and message.dev_num == 0
        self.events.append((message.device_number, message.device_bus_state))
        info = request("GET_DEVICE_INFO", revision=R1, dev_num=message.device_number)
        await self.transport.receive(info.wire())


async def test_announced_device_answers_requests():
    requester = InfoRequester({0: EntropyDevice()})
    assert await requester.transport.plug(ConsoleDevice()) == 1
    assert await requester.transport.plug(BlockDevice(), 31) == 31
    assert requester.events == [(1, DeviceState.ADDED), (31, DeviceState.ADDED)]
    assert requester.answers == [(1, 3), (31, 2)] and not requester.transport.drops


async def test_removal_is_announced_after_the_device_is_drained():
    """By then its queues are reset, its last access has completed, and its number is unused."""
    slow = SlowDrain()
    slow.gate.set()
    requester = InfoRequester({0: EntropyDevice(), 4: slow})
    slow.write_status(1)
    slow.gate.clear()
    unplugging = asyncio.create_task(requester.transport.unplug(4))
    await settle()
    assert requester.events == [] and slow.status == 0
    slow.gate.set()
    assert await unplugging is slow
    assert requester.events == [(4, DeviceState.REMOVED)]
    assert requester.answers == [] and requester.transport.drops == {Drop.NO_DEVICE: 1}


async def test_number_stays_taken_until_removal_is_announced():
    """Otherwise REMOVED could follow ADDED of the next device, which the driver would drop."""
    slow = SlowDrain()
    slow.gate.set()
    requester = InfoRequester({n: slow if n == 4 else EntropyDevice() for n in range(32)})
    slow.gate.clear()
    unplugging = asyncio.create_task(requester.transport.unplug(4))
    await settle()
    for number in (4, None):
        with pytest.raises(TransportError, match="taken"):
            await requester.transport.plug(ConsoleDevice(), number)
    slow.gate.set()
    await unplugging
    assert await requester.transport.plug(ConsoleDevice()) == 4
    assert requester.events == [(4, DeviceState.REMOVED), (4, DeviceState.ADDED)]
    # A cancelled unplug also frees the number.
    slow.gate.clear()
    requester.transport.devices[7] = slow
    unplugging = asyncio.create_task(requester.transport.unplug(7))
    await settle()
    unplugging.cancel()
    await settle()
    assert await requester.transport.plug(ConsoleDevice(), 7) == 7


async def test_invalid_device_numbers_are_not_announced():
    requester = InfoRequester({0: EntropyDevice()})
    for number in (1, EMPTY, 32):
        for change in (requester.transport.announce, requester.transport.unplug):
            with pytest.raises(TransportError, match=f"device number is {number}"):
                await change(number)
    for number in (0, 32, -1):
        with pytest.raises(TransportError, match=f"device number is {number}"):
            await requester.transport.plug(ConsoleDevice(), number)
    assert requester.events == []


async def test_numbers_are_unique_and_reused_last():
    requester = InfoRequester({0: EntropyDevice(), 1: EntropyDevice()})
    await requester.transport.unplug(0)
    # The number that was freed last is used last.
    numbers = [await requester.transport.plug(ConsoleDevice()) for _ in range(31)]
    assert numbers == [*range(2, 32), 0]
    with pytest.raises(TransportError, match="all 32 device numbers are taken"):
        await requester.transport.plug(ConsoleDevice())
    for number in (7, 3, 20):
        await requester.transport.unplug(number)
    assert [await requester.transport.plug(ConsoleDevice()) for _ in range(3)] == [7, 3, 20]
