# SPDX-License-Identifier: BSD-2-Clause
"""The guest's initramfs, in the cpio format that Linux unpacks at boot.

Source: the kernel's Documentation/driver-api/early-userspace/buffer-format.rst, "newc": a header of
hexadecimal numbers, the name, the contents, each padded to four bytes; a last entry ends it.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from dataclasses import dataclass

MAGIC = b"070701"
END = "TRAILER!!!"
ALIGNMENT = 4
MAX_SIZE = 0xFFFF_FFFF
CONSOLE_DEVICE = (5, 1)
"""Major and minor number of /dev/console, which Linux opens for process 1."""


class InitramfsError(ValueError):
    """An entry that the format cannot represent; the text names it."""


@dataclass(frozen=True)
class Entry:
    """A file, folder or device.

    Attributes
    ----------
    name
        Path without a leading slash.
    mode
        Type and permissions, as in ``st_mode``.
    contents
        Contents of a file, or target of a link.
    device
        Major and minor number of a device.
    """

    name: str
    mode: int
    contents: bytes = b""
    device: tuple[int, int] = (0, 0)


def folder(name: str) -> Entry:
    """A folder with mode 755."""
    return Entry(name, stat.S_IFDIR | 0o755)


def file(name: str, contents: bytes, *, executable: bool = False) -> Entry:
    """A file with mode 755 or 644."""
    return Entry(name, stat.S_IFREG | (0o755 if executable else 0o644), contents)


def link(name: str, target: str) -> Entry:
    """A symbolic link."""
    return Entry(name, stat.S_IFLNK | 0o777, target.encode())


def console() -> Entry:
    """The device of the kernel's console, in ``dev``."""
    return Entry("dev/console", stat.S_IFCHR | 0o600, device=CONSOLE_DEVICE)


def archive(entries: Iterable[Entry]) -> bytes:
    """The bytes of an archive. A folder must precede its contents.

    Raises
    ------
    InitramfsError
        A name is empty, absolute, a duplicate or the end marker; a folder is missing; a file is too
        large.
    """
    parts: list[bytes] = []
    folders, names = {""}, set()
    for number, entry in enumerate(entries, 1):
        parent = entry.name.rpartition("/")[0]
        if not entry.name or entry.name.startswith("/") or entry.name == END:
            raise InitramfsError(f"name is {entry.name!r}: must be a relative path")
        if entry.name in names:
            raise InitramfsError(f"{entry.name} is a duplicate")
        if parent not in folders:
            raise InitramfsError(f"{entry.name}: there is no folder {parent}")
        if len(entry.contents) > MAX_SIZE:
            size = len(entry.contents)
            raise InitramfsError(f"{entry.name} has {size} bytes: must be {MAX_SIZE} at most")
        names.add(entry.name)
        if stat.S_ISDIR(entry.mode):
            folders.add(entry.name)
        parts.append(_packed(entry, number))
    return b"".join([*parts, _packed(Entry(END, 0), 0)])


def _packed(entry: Entry, number: int) -> bytes:
    name = entry.name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    # inode, mode, uid, gid, links, mtime, size, device (two), device of the node (two), name size,
    # checksum, unused in this format. mtime is 0: the same entries give the same bytes.
    numbers = (
        *(number, entry.mode, 0, 0, links, 0, len(entry.contents), 0, 0),
        *(*entry.device, len(name), 0),
    )
    header = MAGIC + b"".join(b"%08X" % value for value in numbers) + name
    return _padded(header) + _padded(entry.contents)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % ALIGNMENT)
