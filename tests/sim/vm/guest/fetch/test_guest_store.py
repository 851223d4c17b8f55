# SPDX-License-Identifier: BSD-2-Clause
"""The store: its folders are complete, and one process at a time writes it."""

from __future__ import annotations

import errno
import threading
import time

import pytest

from sim.vm.guest.errors import DownloadError, GuestError
from sim.vm.guest.fetch.store import Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def put(store, name, recipe=1, **facts):
    with store.locked(), store.scratch() as scratch:
        (scratch / "new").mkdir()
        (scratch / "new" / "file").write_text("contents")
        store.keep(scratch / "new", name, recipe, facts)


def test_kept_folder_is_found(store):
    assert store.facts("a", 1) is None
    put(store, "a", version="1.2")
    assert store.facts("a", 1) == {"version": "1.2", "recipe": 1}
    assert (store.root / "a" / "file").read_text() == "contents"
    assert {path.name for path in store.root.iterdir()} == {"a", "lock"}


def test_other_recipe_is_replaced(store):
    put(store, "a", version="old")
    assert store.facts("a", 2) is None
    put(store, "a", recipe=2, version="new")
    assert store.facts("a", 2) == {"version": "new", "recipe": 2}


@pytest.mark.parametrize("marker", ["", "[]", "{", '{"version": "1"}'])
def test_broken_marker_is_ignored(store, marker):
    put(store, "a")
    (store.root / "a" / "complete.json").write_text(marker)
    assert store.facts("a", 1) is None


def test_interruption_leaves_no_files(store):
    with pytest.raises(KeyboardInterrupt), store.locked(), store.scratch() as scratch:
        (scratch / "half").touch()
        raise KeyboardInterrupt
    assert [path.name for path in store.root.iterdir()] == ["lock"]


def test_partial_folders_are_removed(store):
    store.root.mkdir()
    (store.root / "partial-abc").mkdir()
    (store.root / "partial-abc" / "half").touch()
    with store.locked():
        assert [path.name for path in store.root.iterdir()] == ["lock"]


def test_full_disk_is_failed_download(store):
    refused = pytest.raises(DownloadError, match=r"cannot fill .*: .* No space left")
    with refused, store.locked(), store.scratch():
        raise OSError(errno.ENOSPC, "No space left on device")
    assert [path.name for path in store.root.iterdir()] == ["lock"]


def test_unwritable_store_raises_error(tmp_path):
    (tmp_path / "file").touch()
    refused = pytest.raises(GuestError, match=r"cannot write to .*: Not a directory")
    with refused, Store(tmp_path / "file" / "store").locked():
        pass


def test_lock_excludes_other_threads(store):
    inside, most = 0, 0

    def fill() -> None:
        nonlocal inside, most
        with store.locked():
            inside += 1
            most = max(most, inside)
            time.sleep(0.01)
            inside -= 1

    threads = [threading.Thread(target=fill) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
