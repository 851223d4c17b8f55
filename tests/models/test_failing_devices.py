# SPDX-License-Identifier: BSD-2-Clause
"""Exceptions in the code of a device: the device fails, and everything else continues."""

import asyncio
import logging

import pytest
from faulty import FAULTS, FAULTY, SOUND, BrokenCodeError, FaultyDevice, check, devices
from model_support import settle

from models.devices import ConsoleDevice, EntropyDevice
from models.driver import DriverStoppedError
from models.drivers import DataPathError, EntropyDriver
from models.host_memory import MemoryAccessError
from models.messages import REVISIONS
from models.system import ModelSystem
from models.virtio import DeviceStatus
from models.virtqueue import Buffer


@pytest.mark.parametrize("revision", REVISIONS)
@pytest.mark.parametrize("name", FAULTS)
async def test_device_that_raises_needs_a_reset(name, revision, caplog):
    async with ModelSystem([devices(name)], revision=revision) as system:
        await check(system, name, lambda: settle(200))
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.getMessage() for record in errors] == [
        f"device {FAULTY} of FIFO 0 needs a reset: BrokenCodeError('{FAULTS[name].method}')"
    ]
    assert errors[0].exc_info


async def test_repeated_failure_is_logged_once(caplog):
    async with ModelSystem([{0: FaultyDevice("read_config")}]) as system:
        system.device_side.transports[0].devices[0].armed = True
        for _ in range(5):
            answer = await system.drivers[0].request("GET_CONFIG", dev_num=0, offset=0, size=4)
            assert answer.number("size") == 0
    assert len(caplog.records) == 1


async def test_invalid_ring_is_logged_without_a_traceback(caplog):
    async with ModelSystem([{0: EntropyDevice()}]) as system:
        entropy = await EntropyDriver.probe(system.drivers[0], 0, system.host.memory)
        await system.host.memory.write(entropy.device.rings[0].driver_addr, b"\0\0\xff\xff")
        await entropy.device.notify(0)
        await entropy.device.wait_config(1e5)
    (record,) = caplog.records
    assert "device 0 of FIFO 0 needs a reset: avail.idx is 65535" in record.getMessage()
    assert (record.levelno, record.exc_info) == (logging.WARNING, None)


async def test_device_that_raises_in_a_function_reset_does_not_affect_others():
    faulty, sound = FaultyDevice("reset"), ConsoleDevice()
    async with ModelSystem([{0: faulty, 1: sound}, {0: ConsoleDevice()}]) as system:
        for fifo, number in ((0, 0), (0, 1), (1, 0)):
            await system.drivers[fifo].probe(number)
        faulty.armed = True
        system.endpoint.function_reset()
        assert faulty.status == DeviceStatus.NEEDS_RESET and not faulty.queues[0].enabled
        for transport in system.device_side.transports:
            assert [d.status for d in transport.devices.values() if d is not faulty] == [0] * (
                len(transport.devices) - (faulty in transport.devices.values())
            )


async def test_device_that_raises_in_its_reset_can_be_unplugged():
    faulty = FaultyDevice("reset")
    async with ModelSystem([{0: faulty, 1: EntropyDevice()}], revision="r1") as system:
        await system.drivers[0].probe(0)
        faulty.armed = True
        assert await system.device_side.unplug(0, 0) is faulty
        assert await system.drivers[0].discover() == [1]
        assert await system.device_side.plug(0, ConsoleDevice(), 0) == 0
        assert await system.drivers[0].discover() == [0, 1]
        assert (await system.drivers[0].device_info(0)).device_id == 3


async def test_device_that_raises_when_plugged_needs_a_reset():
    faulty = FaultyDevice("attach")
    faulty.armed = True
    async with ModelSystem([{1: EntropyDevice()}], revision="r1") as system:
        await system.device_side.plug(0, faulty, 0)
        assert await system.drivers[0].discover() == [0, 1]
        status = await system.drivers[0].request("GET_DEVICE_STATUS", dev_num=0)
        assert status.number("status") == DeviceStatus.NEEDS_RESET


@pytest.mark.parametrize("at", ["device side", "drops", "bus", "driver"])
async def test_observer_that_raises_does_not_stop_messages(at, caplog):
    async with ModelSystem([{0: EntropyDevice(source=bytes)}]) as system:
        driver, side = system.drivers[0], system.device_side
        observers = {
            "device side": side.observers,
            "drops": side.transports[0].drop_observers,
            "bus": system.buses[0].observers,
            "driver": driver.event_callbacks,
        }[at]
        calls = []

        def broken(*_):
            raise BrokenCodeError(at)

        observers.append(broken)
        observers.append(lambda *seen: calls.append(seen))
        entropy = await EntropyDriver.probe(driver, 0, system.host.memory)
        # There is no device 3, so this message is dropped.
        await driver.notify("EVENT_AVAIL", dev_num=3, index=0, next_offset=0, next_wrap=0)
        for _ in range(3):
            assert await entropy.read(8) == bytes(8)
        await driver.ping(1)
        # Later observers are still called, and the error is kept.
        assert calls
        assert [str(error) for error in observers.errors] == [at]
    assert len(caplog.records) == 1 and "an observer raised" in caplog.text


async def test_failing_host_memory_fails_pending_transfers():
    async with ModelSystem([{0: EntropyDevice(source=bytes)}]) as system:
        memory = system.host.memory
        entropy = await EntropyDriver.probe(system.drivers[0], 0, memory, timeout_us=1e6)
        transfer = await entropy.submit(0, (), [Buffer(memory.allocate(16), 16)])

        async def failing_read(address, size):
            raise MemoryAccessError("no memory")

        memory.read = failing_read
        with pytest.raises(DataPathError, match="no memory"):
            await entropy.finish(0, transfer)


async def test_failing_bus_fails_pending_requests():
    async with ModelSystem([{SOUND: EntropyDevice()}]) as system:
        driver = system.drivers[0]

        async def broken():
            raise OSError("the link is down")

        await driver.ping()
        driver._bus.recv = broken
        asking = [asyncio.create_task(driver.ping(n)) for n in range(3)]
        # The receive task still waits in the original recv, which returns one more message.
        results = await asyncio.gather(*asking, return_exceptions=True)
        stopped = [error for error in results if error is not None]
        assert stopped and all(isinstance(error, DriverStoppedError) for error in stopped)
        assert "the bus failed: the link is down" in str(stopped[0])
        with pytest.raises(DriverStoppedError, match="the bus failed"):
            await driver.ping()
