# SPDX-License-Identifier: BSD-2-Clause
"""Storage in memory and files: size, growth, and files that cannot be a disk."""

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

from models.devices import BlockDevice, FileStorage, MemoryStorage, StorageError
from models.devices.storage import SECTOR
from models.drivers import BlockDriver
from models.drivers.block import BlockError
from models.system import ModelSystem
from models.virtual_time import run


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(range(256)) * 4)
    return path


@pytest.fixture
def block_device(image):
    """Loop device of the image, if this machine allows one."""
    if shutil.which("losetup") is None:
        pytest.skip("there is no losetup")
    image.write_bytes(bytes(range(256)) * 16)
    done = subprocess.run(
        ["losetup", "--find", "--show", image], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no loop device: {done.stderr.strip()}")
    device = done.stdout.strip()
    yield Path(device)
    subprocess.run(["losetup", "--detach", device], check=True)


def test_size_of_a_regular_file(image):
    disk = FileStorage(image)
    assert disk.size == 1024
    assert disk.read(256, 4) == bytes(range(4))
    disk.write(512, b"new")
    disk.flush()
    disk.close()
    assert image.read_bytes()[512:515] == b"new" and image.stat().st_size == 1024


def test_symbolic_link_is_followed(image, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(image)
    assert FileStorage(link).size == 1024


def test_size_of_a_sparse_file(tmp_path):
    path = tmp_path / "sparse"
    path.touch()
    os.truncate(path, 1 << 40)
    disk = FileStorage(path)
    assert disk.size == 1 << 40 and disk.read((1 << 40) - 4, 4) == bytes(4)


def test_size_of_a_block_device(block_device):
    """The size in the status of a block device is 0."""
    assert block_device.stat().st_size == 0
    disk = FileStorage(block_device)
    assert disk.size == 4096
    assert disk.read(256, 4) == bytes(range(4))
    disk.write(1024, b"new")
    assert disk.read(1024, 3) == b"new"
    with pytest.raises(OSError):
        disk.write(4096, b"beyond")
    with pytest.raises(StorageError, match=r"must be 4096 at most, since image .* cannot grow"):
        disk.resize(8192)
    disk.resize(1024)
    assert disk.size == 1024
    disk.close()


def _fifo(path):
    os.mkfifo(path)


def _socket(path):
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        name = Path(folder) / "s"
        listener.bind(str(name))
        os.rename(name, path)


REFUSED = {
    "a directory": Path.mkdir,
    "a FIFO": _fifo,
    "a socket": _socket,
    "a character device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("kind", REFUSED)
def test_other_kinds_of_files_are_refused(kind, read_only, tmp_path):
    """The refusal is immediate: the open does not wait for the other end of a FIFO."""
    path = tmp_path / "disk"
    REFUSED[kind](path)
    with pytest.raises(StorageError) as caught:
        FileStorage(path, read_only=read_only)
    assert str(caught.value) == f"image {path} is {kind}: must be a regular file or a block device"


@pytest.mark.parametrize("size", [0, 1, 511, 513, 1023])
def test_size_of_partial_sectors_is_refused(size, tmp_path):
    path = tmp_path / "disk"
    path.write_bytes(bytes(size))
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(StorageError, match=f"has {size} bytes: must be a multiple of 512, above 0"):
        FileStorage(path)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    "path, text",
    [
        ("/no/such/disk", "No such file"),
        ("/dev/null/disk", "Not a directory"),
        ("x" * 300, "File name too long"),
        ("a\0b", "null"),
    ],
)
def test_inaccessible_path_is_refused(path, text):
    with pytest.raises(StorageError, match=text):
        FileStorage(path)


def test_symbolic_link_loop_is_refused(tmp_path):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(StorageError, match="symbolic links"):
        FileStorage(loop)


def test_unwritable_file_can_be_opened_read_only(tmp_path):
    """A running program cannot be opened for writing, even by root."""
    program = tmp_path / "program"
    shutil.copy(shutil.which("sleep"), program)
    os.truncate(program, -(-program.stat().st_size // SECTOR) * SECTOR)
    with subprocess.Popen([program, "60"]) as running:
        try:
            with pytest.raises(StorageError, match="for reading and writing: Text file busy"):
                FileStorage(program)
            assert FileStorage(program, read_only=True).read(1, 3) == b"ELF"
        finally:
            running.kill()


def test_reads_past_the_end_of_a_truncated_file_fail(image):
    """The request has an error status, and the disk continues to work."""

    async def main():
        disk = FileStorage(image)
        async with ModelSystem([{0: BlockDevice(storage=disk)}]) as system:
            driver = await BlockDriver.probe(system.drivers[0], 0, system.host.memory)
            os.truncate(image, 512 + 100)
            for request in (driver.read(1, 1), driver.read(0, 2)):
                with pytest.raises(BlockError):
                    await request
            assert await driver.read(0, 1) == bytes(range(256)) * 2
            os.truncate(image, 4096)
            assert await driver.read(1, 1) == (bytes(range(100)) + bytes(412))
            assert await driver.sectors() == 2
            os.truncate(image, 0)
            await driver.write(1, b"y" * 512)
            assert await driver.read(0, 2) == bytes(512) + b"y" * 512
            os.truncate(image, 4096)
        assert image.stat().st_size == 4096 and disk.size == 1024

    run(main())


def test_file_grows_and_is_never_truncated(image):
    disk = FileStorage(image)
    disk.resize(2048)
    assert disk.size == 2048 and image.stat().st_size == 2048
    assert disk.read(1024, 1024) == bytes(1024)
    disk.resize(512)
    assert disk.size == 512 and image.stat().st_size == 2048
    disk.resize(1024)
    assert disk.read(0, 1024) == bytes(range(256)) * 4


def test_read_only_file_cannot_grow(image):
    disk = FileStorage(image, read_only=True)
    with pytest.raises(StorageError, match="must be 1024 at most"):
        disk.resize(1536)
    assert disk.size == 1024 and image.stat().st_size == 1024


@pytest.mark.parametrize("size", [0, -512, 100])
def test_invalid_disk_size_is_refused(image, size):
    for disk in (FileStorage(image), MemoryStorage(bytearray(1024))):
        with pytest.raises(StorageError, match="must be a multiple of 512"):
            disk.resize(size)
        assert disk.size == 1024


def test_size_above_file_system_limit_is_refused(image):
    for size in (1 << 62, 1 << 80):
        with pytest.raises(StorageError, match="cannot grow"):
            FileStorage(image).resize(size)
    assert image.stat().st_size == 1024


def test_memory_grows_with_zeros_and_is_truncated():
    disk = MemoryStorage(bytearray(b"x" * 1024))
    disk.resize(512)
    disk.resize(1536)
    assert disk.size == 1536 and disk.read(0, 1536) == b"x" * 512 + bytes(1024)


def test_write_beyond_a_reduced_size_fails(image):
    """A disk may shrink while a request for its last sectors is in flight."""
    for disk in (FileStorage(image), MemoryStorage(bytearray(1024))):
        disk.resize(512)
        with pytest.raises(OSError, match="must be 512 at most"):
            disk.write(512, bytes(512))
        assert disk.size == 512
    assert image.read_bytes() == bytes(range(256)) * 4


def test_access_to_a_closed_file_fails(image):
    disk = FileStorage(image)
    disk.close()
    disk.close()
    with pytest.raises(OSError):
        disk.read(0, 512)
