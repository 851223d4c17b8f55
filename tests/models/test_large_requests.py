# SPDX-License-Identifier: BSD-2-Clause
"""Large requests, which a driver may send, are served in pieces or in part."""

import struct
import tracemalloc

import pytest

from models.devices import BlockDevice, ConsoleDevice, EntropyDevice
from models.devices.base import PIECE
from models.devices.block import F_SEG_MAX, REQUEST, SECTOR
from models.drivers import BlockDriver, ConsoleDriver, EntropyDriver
from models.system import ModelSystem
from models.virtio import RING_FEATURES
from models.virtqueue import Buffer

PATIENT = {"timeout_us": 1e9}
MANY = 20 << 20


async def test_disk_reads_and_writes_more_than_16_mib_in_a_request():
    device = BlockDevice(sectors=MANY // SECTOR)
    async with ModelSystem([{0: device}]) as system:
        disk = await BlockDriver.probe(system.drivers[0], 0, system.host.memory, **PATIENT)
        data = bytes(range(256)) * (MANY // 256)
        await disk.write(0, data)
        assert device.storage.contents == data
        assert await disk.read(0, MANY // SECTOR) == data
        assert device.failure is None


async def test_disk_buffers_one_piece_of_a_request():
    device = BlockDevice(sectors=MANY // SECTOR)
    async with ModelSystem([{0: device}]) as system:
        disk = await BlockDriver.probe(system.drivers[0], 0, system.host.memory, **PATIENT)
        sizes, dma = [], device._link.dma

        class Window:
            async def read(self, address, size):
                sizes.append(size)
                return await dma.read(address, size)

            async def write(self, address, data):
                sizes.append(len(data))
                await dma.write(address, data)

        device._link.dma = Window()
        await disk.write(0, bytes(MANY))
        await disk.read(0, MANY // SECTOR)
        assert max(sizes) == PIECE


@pytest.mark.parametrize("size", [PIECE - 1, PIECE, PIECE + 1, 17 << 20])
async def test_console_prints_a_long_text_in_pieces(size):
    device = ConsoleDevice()
    pieces = []
    device.output_observers.append(lambda data: pieces.append(bytes(data)))
    async with ModelSystem([{0: device}]) as system:
        console = await ConsoleDriver.probe(system.drivers[0], 0, system.host.memory, **PATIENT)
        text = bytes(n % 251 for n in range(1 << 16)) * (size // (1 << 16) + 1)
        await console.write(text[:size])
        assert b"".join(pieces) == text[:size] and device.failure is None
        assert max(map(len, pieces)) <= PIECE


async def test_entropy_fills_a_large_buffer_in_part():
    device = EntropyDevice(source=bytes)
    async with ModelSystem([{0: device}]) as system:
        memory = system.host.memory
        entropy = await EntropyDriver.probe(system.drivers[0], 0, memory, **PATIENT)
        buffer = Buffer(memory.allocate(MANY), MANY)
        written = await entropy.transfer(0, (), [buffer])
        assert 1 <= written <= MANY and device.failure is None
        assert len(await entropy.read(MANY, request_size=MANY)) == MANY


async def test_console_input_for_a_large_buffer():
    device = ConsoleDevice()
    async with ModelSystem([{0: device}]) as system:
        memory = system.host.memory
        console = await ConsoleDriver.probe(system.drivers[0], 0, memory, **PATIENT)
        device.type(b"x" * (3 * PIECE))
        assert len([await console._receive() for _ in range(4)]) == 4
        assert device.failure is None


async def test_request_of_4_gib_beyond_the_disk_is_refused_without_transfer():
    """A length beyond the disk is refused before any data is transferred."""
    device = BlockDevice(sectors=8)
    async with ModelSystem([{0: device}]) as system:
        memory = system.host.memory
        disk = await BlockDriver.probe(system.drivers[0], 0, memory, ring_features=0, **PATIENT)
        base = memory.allocate(4096)
        memory.store(base, REQUEST.pack(1, 0, 0))
        tracemalloc.start()
        parts = [Buffer(base, 16), Buffer(base, (1 << 32) - SECTOR)]
        assert await disk.transfer(0, parts, [Buffer(base + 64, 1)]) == 1
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert memory.load(base + 64, 1) == b"\1" and peak < 1 << 20


@pytest.mark.parametrize(
    ("queue_size", "asked", "offered"),
    [(128, 126, 126), (64, 126, 62), (64, 8, 8), (4, 126, 2), (2, 126, None), (1, 126, None)],
)
async def test_seg_max_fits_the_queue(queue_size, asked, offered):
    device = BlockDevice(seg_max=asked, queue_size=queue_size)
    assert bool(device.offered & F_SEG_MAX) == (offered is not None)
    assert struct.unpack("<I", device.read_config(12, 4)) == (offered or 0,)


@pytest.mark.parametrize("queue_size", [4, 64, 128])
@pytest.mark.parametrize("ring_features", [0, RING_FEATURES])
async def test_request_of_seg_max_segments_is_served(queue_size, ring_features):
    device = BlockDevice(sectors=256, queue_size=queue_size)
    async with ModelSystem([{0: device}]) as system:
        memory = system.host.memory
        disk = await BlockDriver.probe(
            system.drivers[0],
            0,
            memory,
            queue_size=queue_size,
            ring_features=ring_features,
            **PATIENT,
        )
        segments = int.from_bytes(await disk.device.read_config(12, 4), "little")
        assert segments == queue_size - 2
        base = memory.allocate(17 + SECTOR * segments)
        memory.store(base, REQUEST.pack(0, 0, 0))
        data = [Buffer(base + 16 + SECTOR * n, SECTOR) for n in range(segments)]
        status = Buffer(base + 16 + SECTOR * segments, 1)
        memory.store(status.address, b"\xff")
        written = await disk.transfer(0, [Buffer(base, 16)], [*data, status])
        assert (written, memory.load(status.address, 1)) == (SECTOR * segments + 1, b"\0")
