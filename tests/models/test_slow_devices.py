# SPDX-License-Identifier: BSD-2-Clause
"""Devices that take seconds per step."""

import asyncio
import random

import pytest

from models import virtual_time
from models.devices import BlockDevice, ConsoleDevice, EntropyDevice, NetworkDevice
from models.drivers import BlockDriver, ConsoleDriver, EntropyDriver, NetworkDriver
from models.messages import REVISIONS
from models.runtime import sleep
from models.system import EndpointPort, ModelSystem

SECOND = 1e6
HOUR = 3600 * SECOND


class SlowPort:
    """Device port that waits for seconds before each message in either direction."""

    def __init__(self, port: EndpointPort, runtime, seconds):
        self._port, self._runtime, self._seconds = port, runtime, seconds

    async def receive(self):
        await sleep(self._runtime, next(self._seconds) * SECOND)
        return await self._port.receive()

    async def send(self, fifo, message):
        await sleep(self._runtime, next(self._seconds) * SECOND)
        await self._port.send(fifo, message)


@pytest.mark.parametrize("revision", REVISIONS)
def test_transfers_with_seconds_per_step_lose_nothing(revision):
    """The test takes hours of virtual time, more than the limit of an async test here."""
    virtual_time.run(_serve_slowly(revision))


async def _serve_slowly(revision):
    rng = random.Random(f"slow {revision}")
    seconds = iter(lambda: rng.choice((1, 2, 5, 9)), None)
    sent = []
    devices = {
        0: EntropyDevice(source=bytes),
        1: BlockDevice(sectors=64),
        2: ConsoleDevice(),
        3: NetworkDevice(wire=lambda frame: sent.append(frame) or [frame]),
    }
    async with ModelSystem(
        [devices], revision=revision, timeout_us=HOUR, dma_latency_us=3 * SECOND
    ) as system:
        system.device_side._port = SlowPort(system.port, system.runtime, seconds)
        system.device_side.stop()
        system.device_side.start()
        memory = system.host.memory
        loop = asyncio.get_running_loop()
        began = loop.time()

        async def probe(kind, number):
            return await kind.probe(system.drivers[0], number, memory, timeout_us=100 * HOUR)

        entropy, disk, console, card = await asyncio.gather(
            probe(EntropyDriver, 0),
            probe(BlockDriver, 1),
            probe(ConsoleDriver, 2),
            probe(NetworkDriver, 3),
        )
        devices[2].type(b"typed\n")
        lines = [f"line {n}\n".encode() for n in range(4)]
        frames = [bytes([n]) * 60 for n in range(4)]
        await asyncio.gather(
            entropy.read(64),
            *(disk.write(n, bytes([n]) * 512) for n in range(6)),
            *(console.write(line) for line in lines),
            *(card.send(frame) for frame in frames),
        )
        assert [await disk.read(n, 1) for n in range(6)] == [bytes([n]) * 512 for n in range(6)]
        assert sorted(devices[2].output.splitlines(True)) == lines
        assert await console.read_line() == b"typed\n"
        assert sorted(sent) == frames
        assert sorted([await card.receive() for _ in frames]) == frames
        assert loop.time() - began > 100
        assert all(device.failure is None for device in devices.values())
        assert not system.device_side.transports[0].drops and not system.drivers[0].unclaimed
