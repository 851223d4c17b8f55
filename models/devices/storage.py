# SPDX-License-Identifier: BSD-2-Clause
"""What a block device keeps its sectors in: bytes, or a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol


class Storage(Protocol):
    """A fixed number of bytes. Offsets and sizes that are asked for lie within."""

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

    def grow(self, size: int) -> None:
        """Have ``size`` bytes, more than before; the new ones are zeros.

        Raises
        ------
        ValueError
            It is read-only, or cannot have so many.
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
        """As :meth:`Storage.write`."""
        self.contents[offset : offset + len(data)] = data

    def flush(self) -> None:
        """As :meth:`Storage.flush`."""

    def grow(self, size: int) -> None:
        """As :meth:`Storage.grow`."""
        if self.read_only:
            raise ValueError(f"size is {size}: must stay {self.size}, the storage is read-only")
        self.contents.extend(bytes(size - self.size))


class FileStorage:
    """Storage in a file, which is opened now.

    Parameters
    ----------
    path
        The file; its size stays what it is.
    read_only
        Whether to refuse writes.

    Raises
    ------
    OSError
        The file cannot be opened.
    """

    def __init__(self, path: Path | str, *, read_only: bool = False) -> None:
        self.read_only = read_only
        self._file = open(path, "rb" if read_only else "r+b", buffering=0)  # noqa: SIM115
        self.size = os.fstat(self._file.fileno()).st_size

    def read(self, offset: int, size: int) -> bytes:
        """As :meth:`Storage.read`.

        Raises
        ------
        OSError
            The file ends before.
        """
        data = os.pread(self._file.fileno(), size, offset)
        if len(data) != size:
            raise OSError(f"{self._file.name}: {len(data)} of {size} bytes at {offset}")
        return data

    def write(self, offset: int, data: bytes) -> None:
        """As :meth:`Storage.write`.

        Raises
        ------
        OSError
            The medium refused.
        """
        while data:
            done = os.pwrite(self._file.fileno(), data, offset)
            offset, data = offset + done, data[done:]

    def flush(self) -> None:
        """As :meth:`Storage.flush`."""
        os.fsync(self._file.fileno())

    def grow(self, size: int) -> None:
        """As :meth:`Storage.grow`; the file gets a hole."""
        if self.read_only:
            raise ValueError(f"size is {size}: must stay {self.size}, the storage is read-only")
        try:
            os.ftruncate(self._file.fileno(), size)
        except OSError as error:
            raise ValueError(
                f"size is {size}: {self._file.name} cannot have it: {error}"
            ) from error
        self.size = size

    def close(self) -> None:
        """Close the file."""
        self._file.close()
