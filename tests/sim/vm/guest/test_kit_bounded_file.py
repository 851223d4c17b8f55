# SPDX-License-Identifier: BSD-2-Clause
"""Files of a soak: nothing is lost up to the bound, and lines stay whole."""

from __future__ import annotations

import threading

from sim.vm.guest.kit.bounded_file import BoundedFile


def test_pipe_is_copied_to_file(tmp_path):
    with BoundedFile(tmp_path / "pipe", tmp_path / "file") as bounded:
        for text in ("first\n", "second\n"):
            # The server opens it more than once.
            with bounded.pipe.open("w") as file:
                file.write(text)
    assert (tmp_path / "file").read_text() == "first\nsecond\n"
    assert not (tmp_path / "pipe").exists() and not (tmp_path / "file.old").exists()


def test_file_starts_again_at_bound(tmp_path):
    lines = [f"{number:07}\n" for number in range(40000)]
    bounded = BoundedFile(tmp_path / "pipe", tmp_path / "file", limit_bytes=100_000)
    with bounded, bounded.pipe.open("w") as file:
        file.writelines(lines)
    old, new = (tmp_path / name for name in ("file.old", "file"))
    assert old.stat().st_size <= 100_000 + 65536 and new.stat().st_size <= 100_000 + 65536
    kept = (old.read_text() + new.read_text()).splitlines(keepends=True)
    assert kept == lines[-len(kept) :] and len(kept) > 12_000


def test_unused_pipe_ends_at_once(tmp_path):
    threads = threading.active_count()
    with BoundedFile(tmp_path / "pipe", tmp_path / "file"):
        pass
    assert (tmp_path / "file").read_bytes() == b"" and threading.active_count() == threads
