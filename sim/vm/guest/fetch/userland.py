# SPDX-License-Identifier: BSD-2-Clause
"""Fetches the programs of a small guest: busybox, and the tools of ext4 with their libraries."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import DownloadError
from .apt import PrivateApt, mirrors, unpack
from .libraries import LOADER, libraries_of, loader_of
from .machine import Debian, require_debian
from .store import Store

NAME = "userland"
RECIPE = 1
PACKAGES = ("busybox-static", "e2fsprogs", "libc6")
INSTALL_HINT = "boot your own guest, KERNEL=… INITRD=… without DRIVER="
BUSYBOX = "busybox"
TOOLS = ("mke2fs", "e2fsck")
# On a merged system the packages have some of these folders as links.
PROGRAM_FOLDERS = ("bin", "sbin", "usr/bin", "usr/sbin")


@dataclass(frozen=True)
class Userland:
    """Programs of a guest.

    Attributes
    ----------
    busybox
        The static busybox.
    tools
        :data:`TOOLS`, which need ``libraries``.
    libraries
        Shared libraries.
    loader
        The program that loads them.
    """

    busybox: Path
    tools: tuple[Path, ...]
    libraries: tuple[Path, ...]
    loader: Path


def find(store: Store, notify: Callable[[str], None]) -> Userland:
    """The programs in ``store``, downloaded if missing.

    Raises
    ------
    UnavailableError
        The machine is not Debian.
    DownloadError
        The download failed.
    """
    with store.locked():
        if store.facts(NAME, RECIPE) is None:
            fetch(store, require_debian(INSTALL_HINT), notify)
    folder = store.root / NAME
    return Userland(
        folder / "bin" / BUSYBOX,
        tuple(folder / "bin" / name for name in TOOLS),
        tuple(path for path in sorted((folder / "lib").iterdir()) if path.name != LOADER),
        folder / "lib" / LOADER,
    )


def fetch(store: Store, debian: Debian, notify: Callable[[str], None]) -> None:
    """Download the programs into the locked ``store``; raises as :func:`find`."""
    with store.scratch() as scratch:
        (scratch / "apt").mkdir()
        apt = PrivateApt(scratch / "apt", mirrors(debian.codename))
        apt.update()
        archives = apt.closure(PACKAGES)
        size = sum(archive.size for archive in archives)
        notify(
            f"downloading busybox and e2fsprogs of Debian {debian.codename}: {len(archives)} "
            f"packages, {size / 1e6:.1f} MB, kept in {store.root / NAME}"
        )
        root = scratch / "root"
        root.mkdir()
        for archive in apt.download_closure(PACKAGES):
            unpack(archive, root)
        kept = scratch / NAME
        prune(root, kept)
        store.keep(kept, NAME, RECIPE, {"downloaded_bytes": size})


def prune(root: Path, kept: Path) -> None:
    """Copy the programs and their libraries from the unpacked packages to ``kept``.

    Raises
    ------
    DownloadError
        The packages lack a program or a library.
    """
    for folder in ("bin", "lib"):
        (kept / folder).mkdir(parents=True, exist_ok=True)
    for name in (BUSYBOX, *TOOLS):
        program = _program(root, name)
        shutil.copy2(program, kept / "bin" / name)
        if name != BUSYBOX:
            for library in libraries_of(root, program, name):
                shutil.copy2(library, kept / "lib" / library.name)
    shutil.copy2(loader_of(root), kept / "lib" / LOADER)


def _program(root: Path, name: str) -> Path:
    for folder in PROGRAM_FOLDERS:
        if (root / folder / name).is_file():
            return root / folder / name
    raise DownloadError(f"the fetched packages have no program {name}")
