# SPDX-License-Identifier: BSD-2-Clause
"""What a block device keeps its sectors in: bytes, or a file."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Protocol

SECTOR = 512
"""Bytes in the unit of ``capacity``, virtio 5.2.4: a disk has whole sectors."""

_KINDS = (
    (stat.S_ISREG, "a regular file"),
    (stat.S_ISBLK, "a block device"),
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
)
_DISKS = ("a regular file", "a block device")
_USES = {False: "reading and writing", True: "reading"}


class StorageError(ValueError):
    """A file that cannot be a disk, or a size that it cannot have; the text names the limit."""


class Storage(Protocol):
    """A number of bytes. Offsets and sizes that are asked for lie within."""

    @property
    def size(self) -> int:
        """Bytes."""

    @property
    def read_only(self) -> bool:
        """Nothing can be written."""

    def read(self, offset: int, size: int) -> bytes:
        """``size`` bytes from byte ``offset``."""

    def write(self, offset: int, data: bytes) -> None:
        """Store ``data`` at byte ``offset``."""

    def flush(self) -> None:
        """Make what was written permanent."""

    def resize(self, size: int) -> None:
        """Change the size to ``size`` bytes; new bytes are zero.

        Raises
        ------
        StorageError
            It is no whole number of sectors, or the medium cannot have it.
        """


class MemoryStorage:
    """Storage in memory.

    Parameters
    ----------
    contents
        The bytes themselves; a ``bytearray`` is not copied.
    read_only
        Whether to refuse writes.
    """

    def __init__(self, contents: bytearray, *, read_only: bool = False) -> None:
        self.contents = contents
        self.read_only = read_only

    @property
    def size(self) -> int:
        """As :attr:`Storage.size`."""
        return len(self.contents)

    def read(self, offset: int, size: int) -> bytes:
        """As :meth:`Storage.read`."""
        return bytes(self.contents[offset : offset + size])

    def write(self, offset: int, data: bytes) -> None:
        """As :meth:`Storage.write`.

        Raises
        ------
        OSError
            It has become smaller since the request was looked at.
        """
        _check_end(offset + len(data), self.size)
        self.contents[offset : offset + len(data)] = data

    def flush(self) -> None:
        """As :meth:`Storage.flush`."""

    def resize(self, size: int) -> None:
        """As :meth:`Storage.resize`; bytes beyond a smaller size are lost."""
        _check_size("storage", size)
        del self.contents[size:]
        self.contents += bytes(size - len(self.contents))


class FileStorage:
    """Storage in a file, which is opened now.

    Any file whose bytes can be reached by their offset will do: a regular file or a block device,
    by whatever name. It has the size that the file has when it is opened. A regular file that is
    cut short later gives an error where it is read beyond its end, and grows where it is written.

    Parameters
    ----------
    path
        The file.
    read_only
        Whether to refuse writes, and to open a file that cannot be written.

    Raises
    ------
    StorageError
        The file cannot be a disk: it is of another kind, cannot be opened, is empty, or is no
        whole number of sectors.

    Attributes
    ----------
    size
        Bytes.
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
        """As :meth:`Storage.read`.

        Raises
        ------
        OSError
            The file ends before, or the medium refused.
        """
        data = b""
        while len(data) < size:
            piece = os.pread(self._file, size - len(data), offset + len(data))
            if not piece:
                raise OSError(f"{self._name}: {len(data)} of {size} bytes at {offset}")
            data += piece
        return data

    def write(self, offset: int, data: bytes) -> None:
        """As :meth:`Storage.write`.

        Raises
        ------
        OSError
            The medium refused, or the disk has become smaller since the request was looked at.
        """
        _check_end(offset + len(data), self.size)
        while data:
            done = os.pwrite(self._file, data, offset)
            offset, data = offset + done, data[done:]

    def flush(self) -> None:
        """As :meth:`Storage.flush`."""
        os.fsync(self._file)

    def resize(self, size: int) -> None:
        """As :meth:`Storage.resize`. A file grows, but is never cut: its last bytes stay in it."""
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
        """Bytes that the file has now."""
        # A block device's status has no size: the end of any file is found by going there.
        return os.lseek(self._file, 0, os.SEEK_END)


def _open(path: Path | str, name: str, read_only: bool) -> int:
    how = os.O_RDONLY if read_only else os.O_RDWR
    try:
        # Before it is opened: a FIFO waits for its other end, and a device may act.
        _check_kind(name, os.stat(path).st_mode)
        # Another file may have its name meanwhile: that must not block either.
        file = os.open(path, how | os.O_CLOEXEC | os.O_NONBLOCK)
    except StorageError:
        raise
    except (OSError, ValueError) as error:
        text = error.strerror if isinstance(error, OSError) else str(error)
        raise StorageError(f"{name} cannot be opened for {_USES[read_only]}: {text}") from None
    try:
        _check_kind(name, os.fstat(file).st_mode)
    except StorageError:
        os.close(file)
        raise
    return file


def _check_kind(name: str, mode: int) -> None:
    kind = next((kind for has, kind in _KINDS if has(mode)), "a file of an unknown kind")
    if kind not in _DISKS:
        raise StorageError(f"{name} is {kind}: must be {' or '.join(_DISKS)}")


def _check_size(name: str, size: int) -> None:
    if size <= 0 or size % SECTOR:
        raise StorageError(f"{name} has {size} bytes: must be a multiple of {SECTOR}, above 0")


def _check_end(end: int, size: int) -> None:
    if end > size:
        raise OSError(f"the disk has {size} bytes: nothing can be written up to byte {end}")
