# SPDX-License-Identifier: BSD-2-Clause
"""Devices added and removed while the bus runs, and their numbers."""

import asyncio

import pytest
from model_support import settle
from transport_support import EMPTY, SlowDrain

from models.devices import BlockDevice, ConsoleDevice, EntropyDevice
from models.handlers import Drop
from models.messages import R1, DeviceState, MessageKind, decode, request
from models.transport import Transport, TransportError


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


async def test_invalid_device_numbers_are_refused():
    requester = InfoRequester({0: EntropyDevice()})
    for number in (1, EMPTY, 32):
        for change in (requester.transport.announce, requester.transport.unplug):
            with pytest.raises(TransportError, match=f"device number is {number}"):
                await change(number)
    for number in (0, 32, -1):
        with pytest.raises(TransportError, match=f"device number is {number}: "):
            await requester.transport.plug(ConsoleDevice(), number)
    for number in (-1, 32):
        with pytest.raises(TransportError, match=f"device number is {number}: must be 0 to 31"):
            Transport({number: EntropyDevice()}, None)
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
