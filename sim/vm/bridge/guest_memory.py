# SPDX-License-Identifier: BSD-2-Clause
"""Guest memory for a bus master: parts of files, mapped at bus addresses.

Files are read and written by system calls, not memory-mapped: when a client truncates its file, the
request is refused, where a memory mapping would end the process with SIGBUS.
"""

from __future__ import annotations

import fcntl
import os
import stat
from bisect import bisect_right
from dataclasses import dataclass

from models.dma import PAGE

ADDRESS_END = 1 << 64
RESERVED = range(ADDRESS_END - (1 << 20), ADDRESS_END)
"""Bus addresses that no guest may use: targets of a bridge's MSI-X writes."""
MOST_MAPPINGS = 512
"""Limit of the number of mappings, each of which keeps a file open."""


class MappingError(ValueError):
    """An invalid mapping; the text names field and limit."""


class MappingOverlapError(MappingError):
    """The range overlaps a mapping."""


class TooManyMappingsError(MappingError):
    """There are :data:`MOST_MAPPINGS` mappings already."""


class NoMappingError(MappingError):
    """The mapping does not exist."""


@dataclass(frozen=True, kw_only=True)
class Mapping:
    """Part of a file at a bus address.

    Parameters
    ----------
    address, size
        Bus address and size, bytes.
    offset
        Offset in the file of the byte at ``address``.
    file
        File descriptor, which the memory closes; ``None`` for a range that only its owner accesses.
    readable, writable
        Accesses that a bus master may make.
    """

    address: int
    size: int
    offset: int = 0
    file: int | None = None
    readable: bool = True
    writable: bool = True

    @property
    def end(self) -> int:
        """Bus address after the last byte."""
        return self.address + self.size


class GuestMemory:
    """The mappings, by address. No other memory can be accessed."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._mappings: list[Mapping] = []

    def __len__(self) -> int:
        return len(self._mappings)

    def map(self, mapping: Mapping) -> None:
        """Add a mapping and take over its file; after an error the caller still owns the file.

        Raises
        ------
        MappingError
            Address or size is not a multiple of :data:`PAGE`, the range exceeds 64-bit addresses
            or overlaps :data:`RESERVED`, or the file does not permit the accesses.
        MappingOverlapError
            Part of the range is mapped already.
        TooManyMappingsError
            There are :data:`MOST_MAPPINGS` already.
        """
        _check(mapping)
        index = bisect_right(self._starts, mapping.address)
        previous = self._mappings[index - 1 : index] if index else []
        for other in (*previous, *self._mappings[index : index + 1]):
            if mapping.address < other.end and other.address < mapping.end:
                raise MappingOverlapError(
                    f"{mapping.size:#x} bytes at {mapping.address:#x} overlap those at "
                    f"{other.address:#x}"
                )
        if len(self._mappings) >= MOST_MAPPINGS:
            raise TooManyMappingsError(f"there are {MOST_MAPPINGS} mappings already")
        self._starts.insert(index, mapping.address)
        self._mappings.insert(index, mapping)

    def unmap(self, address: int, size: int) -> None:
        """Remove the mapping of exactly this range, and close its file.

        Raises
        ------
        NoMappingError
            There is no such mapping.
        """
        index = bisect_right(self._starts, address) - 1
        if (
            index < 0
            or self._mappings[index].address != address
            or self._mappings[index].size != size
        ):
            raise NoMappingError(f"no mapping has {size:#x} bytes at {address:#x}")
        self._starts.pop(index)
        _close(self._mappings.pop(index))

    def clear(self) -> None:
        """Remove every mapping."""
        for mapping in self._mappings:
            _close(mapping)
        self._starts.clear()
        self._mappings.clear()

    def read(self, address: int, size: int) -> bytes | None:
        """``size`` bytes from ``address``, or ``None`` if not all of them are readable."""
        data = b""
        while size:
            mapping = self._find(address)
            if mapping is None or mapping.file is None or not mapping.readable:
                return None
            count = min(size, mapping.end - address)
            try:
                piece = os.pread(mapping.file, count, mapping.offset + address - mapping.address)
            except OSError:
                return None
            if len(piece) != count:
                return None
            data += piece
            address, size = address + count, size - count
        return data

    def write(self, address: int, data: bytes) -> bool:
        """Store ``data`` at ``address``.

        Returns
        -------
        bool
            Whether all of it was stored. Nothing is stored if part of the range is not writable;
            after an error of the medium the bytes before it are.
        """
        pieces = []
        while data:
            mapping = self._find(address)
            if mapping is None or mapping.file is None or not mapping.writable:
                return False
            count = min(len(data), mapping.end - address)
            offset = mapping.offset + address - mapping.address
            # A write past the file's end would grow the file, but not the guest's memory.
            if os.fstat(mapping.file).st_size < offset + count:
                return False
            pieces.append((mapping.file, data[:count], offset))
            address, data = address + count, data[count:]
        try:
            return all(os.pwrite(file, piece, start) == len(piece) for file, piece, start in pieces)
        except OSError:
            return False

    def _find(self, address: int) -> Mapping | None:
        index = bisect_right(self._starts, address) - 1
        if index < 0 or address >= self._mappings[index].end:
            return None
        return self._mappings[index]


def _check(mapping: Mapping) -> None:
    for name in ("address", "size"):
        value = getattr(mapping, name)
        if value % PAGE:
            raise MappingError(f"{name} is {value:#x}: must be a multiple of {PAGE:#x}")
    if not mapping.size:
        raise MappingError("size is 0: must be 1 page or more")
    if mapping.end > RESERVED.start:
        raise MappingError(
            f"{mapping.size:#x} bytes at {mapping.address:#x} end beyond {RESERVED.start:#x}"
        )
    if mapping.file is None:
        return
    if mapping.offset + mapping.size > 1 << 63:
        raise MappingError(f"offset is {mapping.offset:#x}: beyond the longest file")
    if not stat.S_ISREG(os.fstat(mapping.file).st_mode):
        raise MappingError("the file is not a regular file")
    if fcntl.fcntl(mapping.file, fcntl.F_GETFL) & os.O_APPEND:
        raise MappingError("the file is open for appending: writes at an offset are impossible")
    # Files of huge pages can be memory-mapped and read, but not written by a system call.
    try:
        if mapping.readable:
            os.pread(mapping.file, 0, 0)
        if mapping.writable:
            os.pwrite(mapping.file, b"", 0)
    except OSError as error:
        raise MappingError(f"the file does not permit the accesses: {error.strerror}") from None


def _close(mapping: Mapping) -> None:
    if mapping.file is not None:
        os.close(mapping.file)
