# SPDX-License-Identifier: BSD-2-Clause
"""Guarantees of a disk: stable writes, its size, and the refusal of invalid requests."""

import pytest

from models.devices import BlockDevice, FileStorage, MemoryStorage
from models.devices.block import F_FLUSH, ID_SIZE, REQUEST, SECTOR, BlockRequestType, RequestStatus
from models.drivers import BlockDriver, BlockError
from models.system import ModelSystem
from models.virtqueue import Buffer

IN, OUT, FLUSH, GET_ID = BlockRequestType


class OldDriver(BlockDriver):
    """Driver without the FLUSH feature."""

    FEATURES = BlockDriver.FEATURES & ~F_FLUSH


class LoggedStorage(MemoryStorage):
    """Storage that logs writes and flushes; with ``full``, flushes fail."""

    def __init__(self, size, full=False):
        super().__init__(bytearray(size))
        self.log = []
        self.full = full

    def write(self, offset, data):
        self.log.append("write")
        super().write(offset, data)

    def flush(self):
        self.log.append("flush")
        if self.full:
            raise OSError("no space left")


async def probe(system, kind=BlockDriver, number=0):
    return await kind.probe(system.drivers[0], number, system.host.memory, timeout_us=1e6)


async def test_write_without_flush_feature_is_flushed_before_completion():
    storage = LoggedStorage(256 * SECTOR)
    async with ModelSystem([{0: BlockDevice(storage=storage)}]) as system:
        disk = await probe(system, OldDriver)
        for sectors in (1, 200):
            storage.log.clear()
            await disk.write(0, bytes(sectors * SECTOR))
            # One flush, after the last piece of the request.
            assert storage.log.count("flush") == 1 and storage.log[-1] == "flush"


async def test_write_with_flush_feature_is_not_flushed():
    storage = LoggedStorage(8 * SECTOR)
    async with ModelSystem([{0: BlockDevice(storage=storage)}]) as system:
        disk = await probe(system)
        await disk.write(0, bytes(SECTOR))
        assert storage.log == ["write"]
        await disk.flush()
        assert storage.log == ["write", "flush"]
        # The next driver negotiates again.
        await disk.close()
        await (await probe(system, OldDriver)).write(0, bytes(SECTOR))
        assert storage.log == ["write", "flush", "write", "flush"]


@pytest.mark.parametrize("kind", [BlockDriver, OldDriver])
async def test_failing_flush_is_an_error(kind):
    storage = LoggedStorage(8 * SECTOR, full=True)
    async with ModelSystem([{0: BlockDevice(storage=storage)}]) as system:
        disk = await probe(system, kind)
        if kind is OldDriver:
            with pytest.raises(BlockError):
                await disk.write(0, bytes(SECTOR))
        else:
            await disk.write(0, bytes(SECTOR))
            with pytest.raises(BlockError):
                await disk.flush()


@pytest.mark.parametrize("where", ["memory", "file"])
async def test_accesses_follow_the_announced_size(where, tmp_path):
    storage = MemoryStorage(bytearray(b"\x11" * 16 * SECTOR))
    if where == "file":
        path = tmp_path / "disk"
        path.write_bytes(b"\x11" * 16 * SECTOR)
        storage = FileStorage(path)
    device = BlockDevice(storage=storage)
    async with ModelSystem([{0: device}]) as system:
        disk = await probe(system)

        async def resize(sectors):
            device.resize(sectors)
            await system.device_side.transports[0].notify_config(0)
            assert await disk.device.wait_config(1e5) is not None
            assert await disk.sectors() == sectors

        await resize(32)
        assert await disk.read(16, 16) == bytes(16 * SECTOR)
        await disk.write(31, b"\x22" * SECTOR)
        assert await disk.read(31, 1) == b"\x22" * SECTOR
        await resize(8)
        assert await disk.read(0, 8) == b"\x11" * 8 * SECTOR
        for sector, count in ((8, 1), (7, 2), (31, 1)):
            with pytest.raises(BlockError):
                await disk.read(sector, count)
            with pytest.raises(BlockError):
                await disk.write(sector, bytes(count * SECTOR))
        # The data beyond the smaller size still exists.
        await resize(32)
        assert await disk.read(31, 1) == b"\x22" * SECTOR


def test_invalid_size_is_refused(tmp_path):
    for sectors in (-1, 1 << 64):
        with pytest.raises(ValueError, match=r"must be 0 to 2\*\*64 - 1"):
            BlockDevice(sectors=1).resize(sectors)
    path = tmp_path / "disk"
    path.write_bytes(bytes(SECTOR))
    device = BlockDevice(storage=FileStorage(path, read_only=True))
    with pytest.raises(ValueError, match="size is 1024: must be 512 at most"):
        device.resize(2)
    device.resize(0)
    assert device.read_config(0, 8) == bytes(8)


async def request(disk, kind, out_size, in_size):
    """Send a request with readable and writable data of these sizes; return status and data."""
    memory = disk.memory
    base = memory.allocate(4096)
    memory.store(base, REQUEST.pack(kind, 0, 0) + b"\x77" * 4079)
    memory.store(base + 4095, b"\xff")
    readable = [Buffer(base, 16)] + [Buffer(base + 16, out_size)] * bool(out_size)
    writable = [Buffer(base + 2048, in_size)] * bool(in_size) + [Buffer(base + 4095, 1)]
    await disk.transfer(0, readable, writable)
    return memory.load(base + 4095, 1)[0], memory.load(base + 2048, max(in_size, 1))


@pytest.mark.parametrize(
    ("kind", "out_size", "in_size", "status"),
    [
        (OUT, 0, SECTOR, RequestStatus.IOERR),
        (OUT, SECTOR, SECTOR, RequestStatus.IOERR),
        (OUT, SECTOR, 1, RequestStatus.IOERR),
        (OUT, SECTOR, 0, RequestStatus.OK),
        (IN, SECTOR, 0, RequestStatus.IOERR),
        (IN, SECTOR, SECTOR, RequestStatus.IOERR),
        (IN, 1, SECTOR, RequestStatus.IOERR),
        (IN, 0, SECTOR, RequestStatus.OK),
        (GET_ID, ID_SIZE, 0, RequestStatus.IOERR),
        (GET_ID, 1, ID_SIZE, RequestStatus.IOERR),
        (GET_ID, 0, ID_SIZE, RequestStatus.OK),
        (99, SECTOR, SECTOR, RequestStatus.UNSUPP),
    ],
)
async def test_data_in_the_wrong_direction_is_an_error(kind, out_size, in_size, status):
    device = BlockDevice(sectors=16)
    async with ModelSystem([{0: device}]) as system:
        disk = await probe(system)
        answered, data = await request(disk, kind, out_size, in_size)
        assert answered == status
        moved = status == RequestStatus.OK
        assert any(device.storage.contents) == (moved and kind == OUT)
        assert (data != b"\x77" * len(data)) == (moved and kind != OUT)
