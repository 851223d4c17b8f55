# SPDX-License-Identifier: BSD-2-Clause
"""Drivers whose device is of no help: it answers with nothing, or never stops."""

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


async def test_source_of_few_bytes():
    """Less than the buffer holds is fine (5.4.6), and the rest is asked for."""
    device = EntropyDevice(source=lambda size: bytes([size]) * min(size, 3))
    async with ModelSystem([{0: device}]) as system:
        entropy = await probe(system, EntropyDriver)
        assert await entropy.read(8) == b"\x08\x08\x08\x05\x05\x05\x02\x02"
        assert device.given == entropy.statistics.bytes_in == 8


async def test_entropy_that_is_none():
    class Empty(EntropyDevice):
        async def handle(self, index, queue, chain):
            return 0

    async with ModelSystem([{0: Empty()}]) as system:
        entropy = await probe(system, EntropyDriver)
        with pytest.raises(ProtocolError, match="device 0: 0 random bytes: must be 1 or more"):
            await entropy.read(8)


async def test_entropy_chain_with_nothing_to_write():
    device = EntropyDevice(source=lambda size: 1 // 0)
    async with ModelSystem([{0: device}]) as system:
        path = await probe(system, VirtioDriver)
        assert await path.transfer(0, [Buffer(system.host.memory.allocate(8), 8)], ()) == 0
        assert device.failure is None


async def test_a_wire_that_is_never_silent():
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


async def test_input_without_end():
    device = ConsoleDevice()
    async with ModelSystem([{0: device}]) as system:
        console = await probe(system, ConsoleDriver)
        device.type(b"x" * 4095 + b"\n" + b"y" * 4096 + b"z\n")
        assert len(await console.read_line()) == 4096
        text = r"device 0: no newline in \d+ bytes of input: must be one in 4096"
        with pytest.raises(LineTooLongError, match=text):
            await console.read_line()
        # It is not lost.
        rest = await console.read()
        while len(rest) < 4098:
            rest += await console.read()
        assert rest == b"y" * 4096 + b"z\n"


async def test_input_that_is_none():
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
async def test_chain_that_never_fits(rings):
    async with ModelSystem([{0: BlockDevice(sectors=8)}]) as system:
        disk = await probe(system, BlockDriver, ring_features=rings, queue_size=2)
        text = "device 0, queue 0: chain has 3 buffers: must be 2 at most"
        with pytest.raises(ChainTooLongError, match=text):
            await disk.read(0, 1)
        await disk.flush()


async def test_chain_as_long_as_the_queue():
    """In a table of its own too: what one end takes for right, the other does."""
    device = EntropyDevice(source=bytes)
    async with ModelSystem([{0: device}]) as system:
        path = await probe(system, VirtioDriver, queue_size=4)
        buffers = [Buffer(system.host.memory.allocate(8), 8) for _ in range(4)]
        assert await path.transfer(0, (), buffers) == 32
        assert device.failure is None


class SlowIndex:
    """Host memory in which a store of the available index takes until it is let go."""

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


async def test_a_request_given_up_half_way_harms_no_other():
    """The chain is there already when whoever submitted it is cancelled."""
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
