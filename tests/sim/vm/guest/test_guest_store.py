# SPDX-License-Identifier: BSD-2-Clause
"""The store: a folder is there whole or not at all, and one process at a time fills it."""

from __future__ import annotations

import errno
import threading
import time

import pytest

from sim.vm.guest.errors import DownloadError, GuestError
from sim.vm.guest.store import Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def put(store, name, recipe=1, **facts):
    with store.locked(), store.scratch() as scratch:
        (scratch / "new").mkdir()
        (scratch / "new" / "file").write_text("contents")
        store.keep(scratch / "new", name, recipe, facts)


def test_what_was_kept_is_found(store):
    assert store.facts("a", 1) is None
    put(store, "a", version="1.2")
    assert store.facts("a", 1) == {"version": "1.2", "recipe": 1}
    assert (store.root / "a" / "file").read_text() == "contents"
    assert {path.name for path in store.root.iterdir()} == {"a", "lock"}


def test_another_recipe_is_not_trusted_and_is_replaced(store):
    put(store, "a", version="old")
    assert store.facts("a", 2) is None
    put(store, "a", recipe=2, version="new")
    assert store.facts("a", 2) == {"version": "new", "recipe": 2}


@pytest.mark.parametrize("marker", ["", "[]", "{", '{"version": "1"}'])
def test_a_broken_marker_is_none(store, marker):
    put(store, "a")
    (store.root / "a" / "complete.json").write_text(marker)
    assert store.facts("a", 1) is None


def test_an_interruption_leaves_nothing(store):
    with pytest.raises(KeyboardInterrupt), store.locked(), store.scratch() as scratch:
        (scratch / "half").touch()
        raise KeyboardInterrupt
    assert [path.name for path in store.root.iterdir()] == ["lock"]


def test_what_a_killed_process_left_goes(store):
    store.root.mkdir()
    (store.root / "partial-abc").mkdir()
    (store.root / "partial-abc" / "half").touch()
    with store.locked():
        assert [path.name for path in store.root.iterdir()] == ["lock"]


def test_no_room_is_a_failed_download(store):
    refused = pytest.raises(DownloadError, match=r"cannot fill .*: .* No space left")
    with refused, store.locked(), store.scratch():
        raise OSError(errno.ENOSPC, "No space left on device")
    assert [path.name for path in store.root.iterdir()] == ["lock"]


def test_where_nothing_can_be_kept(tmp_path):
    (tmp_path / "file").touch()
    refused = pytest.raises(GuestError, match=r"cannot write to .*: Not a directory")
    with refused, Store(tmp_path / "file" / "store").locked():
        pass


def test_two_do_not_fill_it_at_once(store):
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
