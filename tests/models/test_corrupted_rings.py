# SPDX-License-Identifier: BSD-2-Clause
"""Four devices with corrupted rings."""

import random

import pytest
from model_support import settle
from virtqueue_support import INDIRECT, NEXT, WRITE

from models.devices import BlockDevice, ConsoleDevice, EntropyDevice, NetworkDevice
from models.dma import DmaError
from models.drivers import BlockDriver, ConsoleDriver, EntropyDriver, NetworkDriver
from models.system import ModelSystem
from models.virtio import DeviceStatus
from models.virtqueue import VirtqueueError

DRIVERS = (EntropyDriver, BlockDriver, ConsoleDriver, NetworkDriver)


async def scribble(system, path, rng):
    """Fill the rings of ``path`` with random, mostly plausible, contents and notify the device."""
    memory, rings = system.host.memory, path.device.rings
    buffers = memory.allocate(4096)
    for ring in rings.values():
        for number in range(ring.size):
            raw = rng.choice([buffers, rng.getrandbits(64)]).to_bytes(8, "little")
            raw += rng.choice([1, 16, 64, rng.getrandbits(32)]).to_bytes(4, "little")
            raw += rng.choice([0, WRITE, NEXT, NEXT | WRITE, INDIRECT, 7]).to_bytes(2, "little")
            raw += rng.choice([rng.randrange(ring.size), rng.getrandbits(16)]).to_bytes(2, "little")
            await memory.write(ring.descriptor_addr + 16 * number, raw)
        heads = b"".join(rng.randrange(ring.size + 1).to_bytes(2, "little") for _ in range(4))
        index = rng.choice([1, 2, 3, rng.getrandbits(16)])
        await memory.write(ring.driver_addr + 2, index.to_bytes(2, "little") + heads)
    for index in rings:
        await path.device.notify(index)


@pytest.mark.parametrize("seed", range(24))
async def test_corrupted_rings(seed):
    """Each device serves the rings or sets NEEDS_RESET, and still answers requests."""
    rng = random.Random(seed)
    devices = [EntropyDevice(), BlockDevice(), ConsoleDevice(), NetworkDevice()]
    async with ModelSystem([dict(enumerate(devices))]) as system:
        memory, paths = system.host.memory, []
        for number, kind in enumerate(DRIVERS):
            path = await kind.probe(system.drivers[0], number, memory, queue_size=8)
            path.stop()
            paths.append(path)
        for path, device in zip(paths, devices, strict=True):
            await scribble(system, path, rng)
            if isinstance(device, ConsoleDevice):
                device.type(bytes(64))
            elif isinstance(device, NetworkDevice):
                device.deliver(bytes(64))
        await settle(200)
        for path, device in zip(paths, devices, strict=True):
            broken = bool(await path.device.status() & DeviceStatus.NEEDS_RESET)
            assert broken == (device.failure is not None)
            assert not broken or isinstance(device.failure, (VirtqueueError, DmaError))
            await path.device.reset()
            assert device.failure is None
