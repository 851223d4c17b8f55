# SPDX-License-Identifier: BSD-2-Clause
"""The build cache stays within its bound, without entries in use."""

from __future__ import annotations

import fcntl
import os

import pytest

from sim import build as build_module
from sim.cache import AGE_S, IN_USE_S, lock_of, prune

NOW = 1e9
HOUR = 3600.0


@pytest.fixture
def entry(tmp_path):
    """Makes an entry of 1 MiB that was used some hours ago."""

    def entry(name, hours):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "file").write_bytes(os.urandom(1 << 20))
        lock_of(folder).touch()
        os.utime(lock_of(folder), (NOW - hours * HOUR, NOW - hours * HOUR))
        return folder

    return entry


def test_oldest_entries_are_removed_until_cache_fits(entry, tmp_path):
    old, older, new = entry("a", 5), entry("b", 7), entry("c", 3)
    assert prune(tmp_path, limit_bytes=5 << 20, now=NOW) == []
    assert prune(tmp_path, limit_bytes=(2 << 20) + 65536, now=NOW) == [older]
    assert prune(tmp_path, limit_bytes=0, now=NOW) == [old, new]
    assert not any(folder.exists() for folder in (old, older, new))


def test_unused_entries_are_removed_by_age(entry, tmp_path):
    old = entry("a", AGE_S / HOUR + 1)
    entry("b", AGE_S / HOUR - 1)
    assert prune(tmp_path, limit_bytes=1 << 40, now=NOW) == [old]


def test_entries_in_use_remain(entry, tmp_path):
    entry("recent", IN_USE_S / HOUR - 0.1)
    locked = entry("locked", 9)
    with lock_of(locked).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert prune(tmp_path, limit_bytes=0, now=NOW) == []
    assert prune(tmp_path, limit_bytes=0, now=NOW) == [locked]
    # Pruning is no use.
    assert lock_of(locked).stat().st_mtime == NOW - 9 * HOUR


def test_other_files_remain(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    lock_of(tmp_path / "link").touch()
    assert prune(tmp_path, limit_bytes=0, now=NOW * 3) == []
    assert prune(tmp_path / "missing") == []


def test_lock_of_build_is_its_last_use(tmp_path):
    """Every use of an entry by the builder makes it the newest."""
    folder = tmp_path / "entry"
    with build_module.locked(folder):
        pass
    os.utime(lock_of(folder), (1, 1))
    with build_module.locked(folder):
        pass
    assert lock_of(folder).stat().st_mtime > NOW
