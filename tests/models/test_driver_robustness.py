# SPDX-License-Identifier: BSD-2-Clause
"""Drivers of devices that return empty buffers or endless data, and limits of chains."""

import asyncio

import pytest

from models.devices import BlockDevice, ConsoleDevice, EntropyDevice, NetworkDevice
from models.devices.block import SECTOR
from models.driver import ProtocolError
from models.drivers import (
    BlockDriver,
    ChainTooLongError,
    ConsoleDriver,
    EntropyDriver,
    LineTooLongError,
    NetworkDriver,
    NoReplyError,
    VirtioDriver,
)
from models.system import ModelSystem
from models.virtio import RING_FEATURES, Feature
from models.virtqueue import Buffer

IPS = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])
PATIENT = {"timeout_us": 5e6}


async def probe(system, kind, **options):
    return await kind.probe(system.drivers[0], 0, system.host.memory, **PATIENT, **options)


async def test_source_may_return_fewer_bytes():
    """A device may fill a buffer in part (5.4.6); the driver requests the rest."""
    device = EntropyDevice(source=lambda size: bytes([size]) * min(size, 3))
    async with ModelSystem([{0: device}]) as system:
        entropy = await probe(system, EntropyDriver)
        assert await entropy.read(8) == b"\x08\x08\x08\x05\x05\x05\x02\x02"
        assert device.bytes_written == entropy.statistics.bytes_in == 8


async def test_empty_entropy_buffer_is_an_error():
    class Empty(EntropyDevice):
        async def handle(self, index, queue, chain):
            return 0

    async with ModelSystem([{0: Empty()}]) as system:
        entropy = await probe(system, EntropyDriver)
        with pytest.raises(ProtocolError, match="device 0: 0 random bytes: must be 1 or more"):
            await entropy.read(8)


async def test_entropy_chain_without_writable_bytes():
    device = EntropyDevice(source=lambda size: 1 // 0)
    async with ModelSystem([{0: device}]) as system:
        path = await probe(system, VirtioDriver)
        assert await path.transfer(0, [Buffer(system.host.memory.allocate(8), 8)], ()) == 0
        assert device.failure is None


async def test_wait_for_a_reply_ends_on_a_busy_network():
    device = NetworkDevice()

    async def talk():
        while True:
            device.deliver(bytes(60))
            await asyncio.sleep(0)

    async with ModelSystem([{0: device}]) as system:
        network = await probe(system, NetworkDriver)
        talking = asyncio.create_task(talk())
        own_ip, ip = IPS
        with pytest.raises(NoReplyError, match="device 0: no ARP reply among 256 frames"):
            await network.resolve(own_ip, ip)
        with pytest.raises(NoReplyError, match="no reply to echo 7 among 256 frames"):
            await network.ping(own_ip, bytes(6), ip, sequence=7)
        talking.cancel()


async def test_line_without_newline_is_an_error():
    device = ConsoleDevice()
    async with ModelSystem([{0: device}]) as system:
        console = await probe(system, ConsoleDriver)
        device.type(b"x" * 4095 + b"\n" + b"y" * 4096 + b"z\n")
        assert len(await console.read_line()) == 4096
        text = r"device 0: no newline in \d+ bytes of input: must be one in 4096"
        with pytest.raises(LineTooLongError, match=text):
            await console.read_line()
        # read() returns the input.
        rest = await console.read()
        while len(rest) < 4098:
            rest += await console.read()
        assert rest == b"y" * 4096 + b"z\n"


async def test_empty_console_buffer():
    class Empty(ConsoleDevice):
        async def serve(self, index, queue):
            while (chain := await queue.next_chain()) is not None:
                await queue.complete(chain, 0)

    async with ModelSystem([{0: Empty()}]) as system:
        console = await probe(system, ConsoleDriver)
        assert await console.read() == b""
        with pytest.raises(LineTooLongError, match="no newline in 0 bytes of input"):
            await console.read_line()


async def test_console_bytes():
    device = ConsoleDevice()
    async with ModelSystem([{0: device}]) as system:
        console = await probe(system, ConsoleDriver)
        device.type(b"one\ntwo")
        assert await console.read_line() == b"one\n"
        assert await console.read() == b"two"
        device.type(b"three")
        assert await console.read() == b"three"
        assert console.statistics.bytes_in == 12


@pytest.mark.parametrize("rings", [RING_FEATURES, Feature.EVENT_IDX.mask])
async def test_chain_longer_than_the_queue_is_refused(rings):
    async with ModelSystem([{0: BlockDevice(sectors=8)}]) as system:
        disk = await probe(system, BlockDriver, ring_features=rings, queue_size=2)
        text = "device 0, queue 0: chain has 3 buffers: must be 2 at most"
        with pytest.raises(ChainTooLongError, match=text):
            await disk.read(0, 1)
        await disk.flush()


async def test_chain_as_long_as_the_queue():
    """An indirect table may have as many descriptors as the queue, for driver and device."""
    device = EntropyDevice(source=bytes)
    async with ModelSystem([{0: device}]) as system:
        path = await probe(system, VirtioDriver, queue_size=4)
        buffers = [Buffer(system.host.memory.allocate(8), 8) for _ in range(4)]
        assert await path.transfer(0, (), buffers) == 32
        assert device.failure is None


class SlowIndex:
    """Host memory that blocks a write of the available index until ``gate`` is set."""

    def __init__(self, memory):
        self.gate = None
        self.header = None
        self.stored = False
        self.allocate, self.read = memory.allocate, memory.read
        self._write = memory.write

    async def write(self, address, data):
        await self._write(address, data)
        if self.gate is not None and address == self.header:
            self.stored = True
            await self.gate.wait()


async def test_cancelled_request_does_not_affect_others():
    """The request is cancelled when its chain is already available."""
    async with ModelSystem([{0: BlockDevice(sectors=8)}]) as system:
        memory = SlowIndex(system.host.memory)
        disk = await BlockDriver.probe(system.drivers[0], 0, memory, **PATIENT)
        memory.header = disk.device.rings[0].driver_addr
        memory.gate = asyncio.Event()
        reading = asyncio.create_task(disk.read(0, 1))
        while not memory.stored:
            await asyncio.sleep(0)
        reading.cancel()
        memory.gate = None
        for _ in range(3):
            assert await disk.read(0, 1) == bytes(SECTOR)
        assert disk.statistics.requests == 4
