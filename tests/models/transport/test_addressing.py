# SPDX-License-Identifier: BSD-2-Clause
"""Messages between the driver and the device that they address."""

import asyncio
import random
from uuid import UUID

import pytest
from model_support import settle
from transport_support import EMPTY, devices, every_request

from models.bus import Direction
from models.devices import ConsoleDevice
from models.driver import RequestTimeoutError
from models.handlers import Drop
from models.messages import DeviceState
from models.system import ModelSystem


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
async def test_request_to_an_absent_device_times_out(dialect, number):
    """Each request fails after exactly its timeout; the bus still works."""
    async with ModelSystem([devices()], revision=dialect, timeout_us=5000) as system:
        driver, loop = system.drivers[0], asyncio.get_running_loop()
        transport = system.device_side.transports[0]
        for n, message in enumerate(every_request(number, revision=dialect), 1):
            before = loop.time()
            with pytest.raises(RequestTimeoutError, match=f"device {number}: no response"):
                await driver.request(message.name, dev_num=number, **message.fields)
            assert loop.time() - before == pytest.approx(0.005)
            assert transport.drops == {Drop.NO_DEVICE: n}
        assert await driver.discover() == [0, 3, 31]


async def test_bus_does_not_change_messages(dialect):
    """Any bytes are transferred unchanged, including undefined and reserved IDs."""
    rng = random.Random(11)
    slots = [rng.randbytes(64) for _ in range(40)]
    slots += [bytes([0, msg_id]) + rng.randbytes(62) for msg_id in (0x3F, 0x7F, 0x80, 0xFF)]
    async with ModelSystem([devices()], revision=dialect) as system:
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
