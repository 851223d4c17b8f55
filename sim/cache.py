# SPDX-License-Identifier: BSD-2-Clause
"""The bound of the build cache: entries that were not used for long are removed.

An entry is a folder, and its lock a file of the same name and ``.lock`` beside it. Every use opens
the lock for writing, so that its time of modification is that of the last use.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LIMIT_BYTES = int(os.environ.get("VIRTIO_MSG_AMP_CACHE_MB", "8192")) << 20
"""Most bytes of the cache: ``VIRTIO_MSG_AMP_CACHE_MB`` times 2**20; a build takes up to 200 MB."""
AGE_S = 30 * 24 * 3600.0
"""Time after which an unused entry is removed."""
IN_USE_S = 3600.0
"""Time after its last use in which an entry is never removed: a simulation may run from it."""


@dataclass(frozen=True)
class CacheEntry:
    """An entry of the cache.

    Attributes
    ----------
    folder
        Its folder.
    used
        Time of its last use, in seconds since the epoch.
    size
        Bytes on the disk.
    """

    folder: Path
    used: float
    size: int

    @property
    def lock(self) -> Path:
        """Its lock."""
        return lock_of(self.folder)


def lock_of(folder: Path) -> Path:
    """The lock of an entry."""
    return folder.with_name(folder.name + ".lock")


def entries(cache: Path) -> list[CacheEntry]:
    """The entries of a cache, the one that was not used for longest first."""
    return sorted(_entries(cache), key=lambda entry: entry.used)


def prune(
    cache: Path, *, limit_bytes: int = LIMIT_BYTES, age_s: float = AGE_S, now: float | None = None
) -> list[Path]:
    """Remove old entries, and then the oldest ones until the cache is within its bound.

    Parameters
    ----------
    cache
        Folder of the entries.
    limit_bytes
        Most bytes that remain, unless entries in use take more.
    age_s
        Time after which an unused entry is removed.
    now
        The current time, in seconds since the epoch.

    Returns
    -------
    list
        The removed folders.
    """
    now = time.time() if now is None else now
    found = entries(cache)
    total = sum(entry.size for entry in found)
    removed: list[Path] = []
    for entry in found:
        age = now - entry.used
        if age < IN_USE_S or (age < age_s and total <= limit_bytes):
            break
        if _remove(entry):
            total -= entry.size
            removed.append(entry.folder)
    return removed


def _entries(cache: Path) -> Iterator[CacheEntry]:
    if not cache.is_dir():
        return
    for folder in cache.iterdir():
        lock = lock_of(folder)
        # Without a lock it is not an entry. Another process may remove either meanwhile.
        with contextlib.suppress(FileNotFoundError):
            if folder.is_dir() and not folder.is_symlink():
                yield CacheEntry(folder, lock.stat().st_mtime, _size(folder))


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += path.lstat().st_blocks * 512
    return total


def _remove(entry: CacheEntry) -> bool:
    """Remove an entry unless a process holds its lock, which remains: others may wait for it."""
    # Not opened for writing: this is no use.
    with contextlib.suppress(OSError), entry.lock.open("r") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(entry.folder)
        return True
    return False
