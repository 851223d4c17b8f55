# SPDX-License-Identifier: BSD-2-Clause
"""Drivers bring up devices behind the gateware, concurrently on every FIFO."""

import os
import random

import cocotb
from cocotb.task import Task

from models.bus import Direction
from models.devices import BlockDevice, ConsoleDevice, EntropyDevice
from models.virtio import DeviceStatus
from testbench.stream import pacing
from testbench.system import GatewareSystem

SEED = int(os.environ["COCOTB_RANDOM_SEED"])


def devices(num_fifos):
    """Devices of each FIFO, with gaps between their numbers that differ between FIFOs."""
    return [
        {fifo: EntropyDevice(), fifo + 7: ConsoleDevice(), 31: BlockDevice(sectors=64 + fifo)}
        for fifo in range(num_fifos)
    ]


async def bring_up(system, fifo, finished):
    """Discover, bring up, use and shut down the devices of one FIFO."""
    driver = system.drivers[fifo]
    assert await driver.discover() == [fifo, fifo + 7, 31]
    for number in (fifo, fifo + 7, 31):
        device = await driver.probe(number)
        assert await device.status() == (
            DeviceStatus.ACKNOWLEDGE
            | DeviceStatus.DRIVER
            | DeviceStatus.FEATURES_OK
            | DeviceStatus.DRIVER_OK
        )
        for index in range(device.info.max_vqs):
            await device.notify(index)
        transport_device = system.device_side.transports[fifo].devices[number]
        assert (await device.status()) == transport_device.status
    capacity = await device.read_config(0, 8)
    assert int.from_bytes(capacity, "little") == 64 + fifo

    await system.device_side.transports[fifo].notify_config(31)
    assert await device.wait_config(timeout_us=100) is not None
    await system.device_side.transports[fifo].notify_used(31, 0)
    assert await device.wait_used(0, timeout_us=100) is not None
    await device.shutdown()
    finished.append(fifo)


async def exchange(dut, **options):
    """Bring up all FIFOs concurrently, then compare the messages that both ends saw."""
    num_fifos = int(os.environ["NUM_FIFOS"])
    system = GatewareSystem(dut, devices(num_fifos), **options)
    seen_by_drivers = []
    for bus in system.buses:
        bus.observers.append(
            lambda direction, fifo, raw: seen_by_drivers.append(
                (direction, fifo, raw.ljust(64, b"\0"))
            )
        )
    await system.start()
    finished = []
    tasks: list[Task] = [
        cocotb.start_soon(bring_up(system, fifo, finished)) for fifo in range(num_fifos)
    ]
    for task in tasks:
        await task
    await system.finish()
    assert sorted(finished) == list(range(num_fifos))

    for fifo in range(num_fifos):
        for direction in Direction:
            crossed = [
                entry.raw.ljust(64, b"\0")
                for entry in system.trace.entries
                if (entry.direction, entry.fifo) == (direction, fifo)
            ]
            seen = [raw for d, f, raw in seen_by_drivers if (d, f) == (direction, fifo)]
            assert len(crossed) > 10 and crossed == seen, f"FIFO {fifo}, {direction}"
    for driver in system.drivers:
        assert not driver.unclaimed
    return system


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def bring_up_at_full_speed(dut):
    """Bring up over the thin host, without pauses."""
    await exchange(dut)


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def bring_up_with_back_pressure(dut):
    """Bring up with pauses and back-pressure on every stream."""
    rng = random.Random(SEED)
    await exchange(
        dut,
        host_idle=pacing.randomly(rng.getrandbits(32), 0.3),
        host_stall=pacing.randomly(rng.getrandbits(32), 0.5),
        device_idle=pacing.randomly(rng.getrandbits(32), 0.3),
        device_stall=pacing.randomly(rng.getrandbits(32), 0.5),
    )
