# SPDX-License-Identifier: BSD-2-Clause
"""Storage of a block device: memory or a file."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Protocol

SECTOR = 512
"""Bytes of the unit of ``capacity``, virtio 5.2.4. A disk has whole sectors."""

_KINDS = (
    (stat.S_ISREG, "a regular file"),
    (stat.S_ISBLK, "a block device"),
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
)
_DISKS = ("a regular file", "a block device")
_ACCESSES = {False: "reading and writing", True: "reading"}


class StorageError(ValueError):
    """The file cannot be a disk, or the size is invalid; the text names the limit."""


class Storage(Protocol):
    """Sectors of a disk. The caller keeps accesses within the size."""

    @property
    def size(self) -> int:
        """Size in bytes."""

    @property
    def read_only(self) -> bool:
        """The storage cannot be written."""

    def read(self, offset: int, size: int) -> bytes:
        """Read ``size`` bytes at byte ``offset``."""

    def write(self, offset: int, data: bytes) -> None:
        """Write ``data`` at byte ``offset``."""

    def flush(self) -> None:
        """Make all writes permanent."""

    def resize(self, size: int) -> None:
        """Change the size to ``size`` bytes; new bytes are zero.

        Raises
        ------
        StorageError
            ``size`` is not a whole number of sectors, or the medium does not support it.
        """


class MemoryStorage:
    """Storage in memory.

    Parameters
    ----------
    contents
        Contents; the ``bytearray`` is not copied.
    read_only
        Whether to refuse writes.
    """

    def __init__(self, contents: bytearray, *, read_only: bool = False) -> None:
        self.contents = contents
        self.read_only = read_only

    @property
    def size(self) -> int:
        """Implement :attr:`Storage.size`."""
        return len(self.contents)

    def read(self, offset: int, size: int) -> bytes:
        """Implement :meth:`Storage.read`."""
        return bytes(self.contents[offset : offset + size])

    def write(self, offset: int, data: bytes) -> None:
        """Implement :meth:`Storage.write`.

        Raises
        ------
        OSError
            The storage became smaller after the request was checked.
        """
        _check_end(offset + len(data), self.size)
        self.contents[offset : offset + len(data)] = data

    def flush(self) -> None:
        """Implement :meth:`Storage.flush`."""

    def resize(self, size: int) -> None:
        """Implement :meth:`Storage.resize`. Bytes beyond a smaller size are lost."""
        _check_size("storage", size)
        del self.contents[size:]
        self.contents += bytes(size - len(self.contents))


class FileStorage:
    """Storage in a file, which the constructor opens.

    The file is a regular file or a block device. The size is that of the file when it is opened. If
    a regular file is truncated later, reads beyond its end fail and writes extend it.

    Parameters
    ----------
    path
        Path of the file.
    read_only
        Whether to refuse writes. It allows a file without write permission.

    Raises
    ------
    StorageError
        The file cannot be a disk: it is of another kind, cannot be opened, is empty, or is not a
        whole number of sectors.

    Attributes
    ----------
    size
        Size in bytes.
    """

    def __init__(self, path: Path | str, *, read_only: bool = False) -> None:
        self.read_only = read_only
        self._name = f"image {path}"
        self._file = _open(path, self._name, read_only)
        try:
            self.size = self.length
            _check_size(self._name, self.size)
        except StorageError:
            self.close()
            raise

    def read(self, offset: int, size: int) -> bytes:
        """Implement :meth:`Storage.read`.

        Raises
        ------
        OSError
            The file is shorter, or the medium failed.
        """
        data = b""
        while len(data) < size:
            piece = os.pread(self._file, size - len(data), offset + len(data))
            if not piece:
                raise OSError(f"{self._name}: {len(data)} of {size} bytes at {offset}")
            data += piece
        return data

    def write(self, offset: int, data: bytes) -> None:
        """Implement :meth:`Storage.write`.

        Raises
        ------
        OSError
            The medium failed, or the disk became smaller after the request was checked.
        """
        _check_end(offset + len(data), self.size)
        while data:
            count = os.pwrite(self._file, data, offset)
            offset, data = offset + count, data[count:]

    def flush(self) -> None:
        """Implement :meth:`Storage.flush`."""
        os.fsync(self._file)

    def resize(self, size: int) -> None:
        """Implement :meth:`Storage.resize`. A file grows, but is never truncated."""
        _check_size(self._name, size)
        length = self.length
        if size > length:
            if self.read_only or not stat.S_ISREG(os.fstat(self._file).st_mode):
                raise StorageError(
                    f"size is {size}: must be {length} at most, since {self._name} cannot grow"
                )
            try:
                os.truncate(self._file, size)
            except (OSError, OverflowError) as error:
                raise StorageError(f"size is {size}: {self._name} cannot grow: {error}") from None
        self.size = size

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    @property
    def length(self) -> int:
        """Present size of the file in bytes."""
        # Seek to the end, because stat has no size for a block device.
        return os.lseek(self._file, 0, os.SEEK_END)


def _open(path: Path | str, name: str, read_only: bool) -> int:
    flags = os.O_RDONLY if read_only else os.O_RDWR
    try:
        # Check before opening: opening a FIFO waits for its other end, and opening a device may
        # have side effects.
        _check_kind(name, os.stat(path).st_mode)
        # O_NONBLOCK and the check below: another file may have replaced this one.
        file = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK)
    except StorageError:
        raise
    except (OSError, ValueError) as error:
        text = error.strerror if isinstance(error, OSError) else str(error)
        raise StorageError(f"{name} cannot be opened for {_ACCESSES[read_only]}: {text}") from None
    try:
        _check_kind(name, os.fstat(file).st_mode)
    except StorageError:
        os.close(file)
        raise
    return file


def _check_kind(name: str, mode: int) -> None:
    kind = next((kind for has, kind in _KINDS if has(mode)), "a file of unknown kind")
    if kind not in _DISKS:
        raise StorageError(f"{name} is {kind}: must be {' or '.join(_DISKS)}")


def _check_size(name: str, size: int) -> None:
    if size <= 0 or size % SECTOR:
        raise StorageError(f"{name} has {size} bytes: must be a multiple of {SECTOR}, above 0")


def _check_end(end: int, size: int) -> None:
    if end > size:
        raise OSError(f"write ends at byte {end}: must be {size} at most, the size of the disk")
