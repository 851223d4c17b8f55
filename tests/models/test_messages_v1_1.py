# SPDX-License-Identifier: BSD-2-Clause
"""Revision v1.1, of the proof of concept of April 2026."""

import pytest

from models.devices import BlockDevice, ConsoleDevice, EntropyDevice, SharedMemory
from models.messages import (
    V1,
    V1_1,
    DeviceState,
    MessageKind,
    decode,
    describe,
    encode,
    event,
    request,
)
from models.system import ModelSystem


def test_v1_1_adds_two_messages_to_v1():
    assert V1_1.max_size == V1.max_size
    added = [layout for layout in V1_1.messages if layout not in V1.messages]
    assert [str(layout) for layout in added] == [
        "GET_SHM request",
        "GET_SHM response",
        "BUS_EVENT_DEVICE event",
    ]
    assert set(V1.messages) < set(V1_1.messages)


def test_encoding_of_known_messages():
    asked = request("GET_SHM", dev_num=3, token=9, index=2, revision="v1.1")
    assert encode(asked).hex() == "000c030009000c0002000000"
    answer = asked.respond(index=2, length=0x1000, address=0xF000_0000)
    assert encode(answer).hex() == "010c0300090014000200000000100000000000f0"
    ready = event("BUS_EVENT_DEVICE", device_number=7, device_bus_state=1, revision="v1.1")
    assert encode(ready).hex() == "0240000000000c0007000100"
    assert describe(decode(encode(answer), "v1.1")) == (
        "GET_SHM response dev 3 token 0x0009 index 2 length 0x00001000 address 0xf0000000"
    )


@pytest.mark.parametrize(
    ("region", "seen"),
    [
        (SharedMemory(address=0xFFFF_F000, length=0x1000), True),
        (SharedMemory(address=0x1_0000_0000, length=0x1000), False),
        (SharedMemory(address=0, length=1 << 32), False),
        (None, False),
    ],
)
async def test_shared_memory_must_fit_in_32_bits(region, seen):
    """A region that does not fit in the fields is absent; its address is not truncated."""
    device = BlockDevice(sectors=8)
    if region is not None:
        device.shared_memory[2] = region
    async with ModelSystem([{0: device}], revision="v1.1") as system:
        dev = await system.drivers[0].device(0)
        assert await dev.shared_memory(2) == (region if seen else None)
        assert device.failure is None


async def test_hot_plug_events_reach_the_driver():
    async with ModelSystem([{0: EntropyDevice()}], revision="v1.1") as system:
        driver, side = system.drivers[0], system.device_side
        number = await side.plug(0, ConsoleDevice())
        assert await driver.wait_device(DeviceState.ADDED, 1e5) == number
        assert await driver.discover() == [0, number]
        await driver.probe(number)
        await side.unplug(0, number)
        assert await driver.wait_device(DeviceState.REMOVED, 1e5) == number
        assert await driver.discover() == [0]


async def test_v1_has_no_hot_plug_event():
    assert not V1.has("BUS_EVENT_DEVICE", MessageKind.EVENT)
    async with ModelSystem([{0: EntropyDevice()}], revision="v1") as system:
        await system.device_side.plug(0, ConsoleDevice())
        await system.drivers[0].ping(1)
        assert not system.drivers[0].unclaimed
