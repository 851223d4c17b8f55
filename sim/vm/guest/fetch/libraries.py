# SPDX-License-Identifier: BSD-2-Clause
"""Shared libraries of programs in unpacked packages, as the packages' own loader lists them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from ..errors import DownloadError

LOADER = "ld-linux-x86-64.so.2"
LIBRARY_FOLDERS = ("usr/lib/x86_64-linux-gnu", "usr/lib", "lib/x86_64-linux-gnu", "lib")


def loader_of(root: Path) -> Path:
    """The loader in ``root``, a folder of unpacked packages."""
    for folder in LIBRARY_FOLDERS:
        if (root / folder / LOADER).exists():
            return root / folder / LOADER
    return root / LIBRARY_FOLDERS[0] / LOADER


def libraries_of(root: Path, program: Path, name: str) -> list[Path]:
    """The libraries of ``program``, from the folders of ``root``.

    Parameters
    ----------
    root
        Folder of unpacked packages, libc included.
    program
        The program.
    name
        What the error text calls it.

    Raises
    ------
    DownloadError
        A library is missing, or the loader does not run.
    """
    path = ":".join(str(root / folder) for folder in LIBRARY_FOLDERS)
    command: Sequence[str] = [
        *(str(loader_of(root)), "--library-path", path),
        *("--list", str(program)),
    ]
    output = subprocess.run(
        command, capture_output=True, text=True, stdin=subprocess.DEVNULL
    ).stdout
    libraries = re.findall(r"=> (/\S+) ", output)
    if "not found" in output or not libraries:
        raise DownloadError(f"the loader of the fetched {name} reports:\n{output}")
    return [Path(library) for library in libraries]
