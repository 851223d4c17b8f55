# SPDX-License-Identifier: BSD-2-Clause
"""Finds a QEMU with a vfio-user client: the machine's, or a newer Debian's with its own libc.

Of the packages, the store keeps the program, the libraries that its loader lists, and the firmware
of a PC, in a relocatable folder.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...serve.qemu import DEVICE, OLDEST
from ..errors import DownloadError, UnavailableError
from .apt import PackageSource, PrivateApt, mirrors, unpack
from .libraries import LOADER, libraries_of, loader_of
from .machine import Debian, require_debian
from .store import Store

PROGRAM = "qemu-system-x86_64"
INSTALL_HINT = f"install QEMU {OLDEST[0]}.{OLDEST[1]} or newer, {PROGRAM} with {DEVICE}"
NAME = "qemu"
RECIPE = 1
"""Version of the folder that :func:`fetch` makes; increment it when the contents change."""
PACKAGES = ("qemu-system-x86", "libc6")
FIRMWARE = ("usr/share/seabios/*.bin", "usr/share/qemu/*.bin", "usr/share/qemu/*.rom")
BACKPORTED = ("trixie", "trixie-backports")
"""The first suites with such a QEMU; later releases include it."""
FIRST_RELEASE_WITH_IT = 14


@dataclass(frozen=True)
class Qemu:
    """A QEMU that is ready to run.

    Attributes
    ----------
    command
        Program and arguments that locate its libraries and firmware.
    version
        Version that it prints.
    """

    command: tuple[str, ...]
    version: str


def parse_version(text: str) -> tuple[int, int] | None:
    """Major and minor version in the output of ``--version``; ``None`` if it is not QEMU's."""
    found = re.match(r"QEMU emulator version (\d+)\.(\d+)", text)
    return None if found is None else (int(found[1]), int(found[2]))


def examine(command: Sequence[str]) -> Qemu | None:
    """The QEMU of ``command``; ``None`` if it does not run, is too old or lacks the device."""
    try:
        version = _output([*command, "--version"])
        if (parse_version(version) or (0, 0)) < OLDEST:
            return None
        if f'"{DEVICE}"' not in _output([*command, "-device", "help"]):
            return None
    except OSError:
        return None
    return Qemu(tuple(command), version.splitlines()[0].removeprefix("QEMU emulator version "))


def _output(command: Sequence[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout


def find(store: Store, notify: Callable[[str], None]) -> Qemu:
    """The machine's QEMU, or the one in ``store``, downloaded if missing.

    Parameters
    ----------
    store
        Keeps the download.
    notify
        Called with a line of text about each download.

    Raises
    ------
    UnavailableError
        The machine has no such QEMU and is not Debian.
    DownloadError
        The download failed, or its QEMU does not run.
    """
    on_path = shutil.which(PROGRAM)
    found = examine([on_path]) if on_path else None
    if found is not None:
        return found
    with store.locked():
        if store.facts(NAME, RECIPE) is None:
            release = require_debian(INSTALL_HINT)
            fetch(store, release, notify)
        found = examine(command_of(store.root / NAME))
    if found is None:
        raise UnavailableError(
            f"the QEMU in {store.root / NAME} does not run: remove it, or {INSTALL_HINT}"
        )
    return found


def command_of(folder: Path) -> list[str]:
    """Command of the QEMU in ``folder``, with its own loader and libraries."""
    return [
        *(str(folder / "lib" / LOADER), "--library-path", str(folder / "lib")),
        *(str(folder / "bin" / PROGRAM), "-L", str(folder / "firmware")),
    ]


def sources_for(
    release: Debian, machine_sources: Sequence[PackageSource]
) -> tuple[list[PackageSource], str | None]:
    """Package sources of a QEMU for a release, and the preferred suite."""
    if release.version is None or release.version >= FIRST_RELEASE_WITH_IT:
        return list(machine_sources), None
    mirror = next(source.uri for source in machine_sources if release.codename in source.suites)
    return [PackageSource(mirror, BACKPORTED)], BACKPORTED[-1]


def fetch(store: Store, release: Debian, notify: Callable[[str], None]) -> None:
    """Download the newest QEMU into the locked ``store``; raises as :func:`find`."""
    sources, preferred = sources_for(release, mirrors(release.codename))
    with store.scratch() as scratch:
        apt = PrivateApt(_make_folder(scratch / "apt"), sources, release=preferred)
        apt.update()
        version = apt.show(PACKAGES[0])["Version"]
        archives = apt.closure(PACKAGES)
        size = sum(archive.size for archive in archives)
        suites = " ".join(suite for source in sources for suite in source.suites)
        notify(
            f"downloading QEMU {version} of Debian ({suites}): {len(archives)} packages, "
            f"{size / 1e6:.1f} MB, kept in {store.root / NAME}"
        )
        root = _make_folder(scratch / "root")
        for archive in apt.download_closure(PACKAGES):
            unpack(archive, root)
        runtime = _make_folder(scratch / NAME)
        prune(root, runtime)
        if examine(command_of(runtime)) is None:
            raise DownloadError(f"the fetched QEMU {version} does not run on this machine")
        facts: dict[str, Any] = {"version": version, "downloaded_bytes": size}
        store.keep(runtime, NAME, RECIPE, facts)


def prune(root: Path, runtime: Path) -> None:
    """Copy QEMU's run-time files from the unpacked packages to ``runtime``."""
    program = root / "usr/bin" / PROGRAM
    libraries = libraries_of(root, program, "QEMU")
    for folder, files in (
        ("bin", [program]),
        ("lib", [loader_of(root), *libraries]),
        ("firmware", [file for pattern in FIRMWARE for file in sorted(root.glob(pattern))]),
    ):
        target = _make_folder(runtime / folder)
        for file in files:
            if file.exists():
                shutil.copy2(file, target / file.name)


def _make_folder(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
