# SPDX-License-Identifier: BSD-2-Clause
"""The programs of a small guest, from unpacked packages."""

from __future__ import annotations

import pytest
from guest_fakes import program

from sim.vm.guest.errors import DownloadError, UnavailableError
from sim.vm.guest.fetch import machine, userland
from sim.vm.guest.fetch.store import Store


@pytest.fixture
def root(tmp_path):
    """Unpacked packages, whose loader lists one library."""
    root = tmp_path / "root"
    libraries = root / "usr/lib/x86_64-linux-gnu"
    program(root / "bin", "busybox", "busybox")
    for name in userland.TOOLS:
        program(root / "sbin", name, name)
    program(libraries, "libext2fs.so.2", "library")
    text = f"libext2fs.so.2 => {libraries}/libext2fs.so.2 (0x1)"
    program(libraries, "ld-linux-x86-64.so.2", f"#!/bin/sh\necho '{text}'\n")
    return root


def test_programs_and_libraries_are_kept(root, tmp_path):
    store = Store(tmp_path / "store")
    with store.locked():
        userland.prune(root, tmp_path / "kept")
        store.keep(tmp_path / "kept", userland.NAME, userland.RECIPE, {})
    found = userland.find(store, pytest.fail)
    assert found.busybox.read_text() == "busybox"
    assert [path.name for path in found.tools] == ["mke2fs", "e2fsck"]
    assert [path.name for path in found.libraries] == ["libext2fs.so.2"]
    assert found.loader.read_text().startswith("#!/bin/sh")


def test_missing_program_and_library_are_named(root, tmp_path):
    (root / "sbin/e2fsck").unlink()
    with pytest.raises(DownloadError, match="the fetched packages have no program e2fsck"):
        userland.prune(root, tmp_path / "kept")
    loader = root / "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"
    loader.write_text("#!/bin/sh\necho 'libext2fs.so.2 => not found'\n")
    with pytest.raises(DownloadError, match=r"loader of the fetched mke2fs reports:\nlibext2fs"):
        userland.prune(root, tmp_path / "kept2")


def test_other_system_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "debian", lambda: None)
    with pytest.raises(UnavailableError, match="not Debian on amd64: boot your own guest"):
        userland.find(Store(tmp_path / "store"), pytest.fail)
