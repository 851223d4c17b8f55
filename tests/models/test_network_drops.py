# SPDX-License-Identifier: BSD-2-Clause
"""Counts of dropped frames of a network device, by reason."""

from models.devices import FrameDrop, NetworkDevice
from models.devices.network import ONE_BUFFER, RECEIVE, TRANSMIT, WAITING_FRAMES
from models.drivers import NetworkDriver, VirtioDriver
from models.system import ModelSystem
from models.virtqueue import Buffer
from models.virtual_time import run

FRAME = bytes(60)


def test_drops_are_counted_by_reason():
    async def main():
        device = NetworkDevice()
        async with ModelSystem([{0: device}]) as system:
            network = await NetworkDriver.probe(system.drivers[0], 0, system.host.memory)
            address = system.host.memory.allocate(4096)
            await system.host.memory.write(address, b"\1" + bytes(4095))
            await network.send(bytes(13))
            device.deliver(bytes(4000))
            await network.transfer(TRANSMIT, [Buffer(address, len(ONE_BUFFER) + 60)], ())
            device.set_link(False)
            await network.send(FRAME)
            device.deliver(FRAME)
            device.deliver(FRAME)
            assert device.drops == {
                FrameDrop.SIZE: 2,
                FrameDrop.OFFLOAD: 1,
                FrameDrop.LINK_DOWN: 3,
            }
            assert device.dropped == 6

    run(main())


def test_frames_for_a_driver_without_buffers_are_counted():
    async def main():
        device = NetworkDevice()
        async with ModelSystem([{0: device}]) as system:
            path = await VirtioDriver.probe(system.drivers[0], 0, system.host.memory)
            for _ in range(WAITING_FRAMES + 3):
                device.deliver(FRAME)
            short = system.host.memory.allocate(16)
            await path.transfer(RECEIVE, (), [Buffer(short, 16)])
            assert device.drops == {FrameDrop.NO_BUFFER: 3, FrameDrop.SMALL_BUFFER: 1}

    run(main())
