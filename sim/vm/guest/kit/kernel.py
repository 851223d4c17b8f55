# SPDX-License-Identifier: BSD-2-Clause
"""The kernel of the kit: the distribution's, or the user's with the folder that it was built in."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import GuestError
from ..fetch import kernel as fetch_kernel
from ..fetch.store import Store
from .modules import ModuleIndex

COMPILER = "gcc"
BUILT_IMAGE = ("arch", "x86", "boot")
"""Folder of a bzImage in the folder that it was built in."""
VERSION_POINTER = 0x20E
"""Offset in a bzImage of the 16-bit offset of its release, less 0x200 (Linux's x86 boot protocol,
``kernel_version``)."""
SETUP_START = 0x200
BOOT_SIGNATURE = slice(0x202, 0x206)
HEADER_MAGIC = b"HdrS"
RELEASE_LIMIT = 128
"""Most bytes of a release."""


class KernelError(GuestError):
    """The user's kernel cannot be used; the text names the option and the reason."""


@dataclass(frozen=True)
class GuestKernel:
    """A kernel to boot.

    Attributes
    ----------
    image
        The bzImage.
    release
        Its release; ``None`` if the image does not have it.
    modules
        Its modules.
    headers
        Folder to build modules in; ``None`` if it is not known.
    libraries
        Folder of libraries that the headers' programs need; ``None`` for the machine's.
    compiler
        Program that compiles modules for it.
    compiler_note
        A line for the case that the compiler is not the kernel's; empty if it is.
    """

    image: Path
    release: str | None
    modules: ModuleIndex
    headers: Path | None = None
    libraries: Path | None = None
    compiler: str = COMPILER
    compiler_note: str = ""


def find_kernel(
    store: Store,
    notify: Callable[[str], None],
    *,
    image: Path | None = None,
    headers: Path | None = None,
    modules: Path | None = None,
) -> GuestKernel:
    """The kernel in ``image``, or the distribution's, downloaded if missing.

    Parameters
    ----------
    store, notify
        As for :func:`sim.vm.guest.fetch.kernel.find`.
    image
        The user's kernel. Of one in ``arch/x86/boot`` the folder above is its headers.
    headers
        Folder of the user's headers.
    modules
        Folder of the user's modules; by default that of the headers.

    Raises
    ------
    KernelError
        A file or a folder of the user's is missing.
    UnavailableError, DownloadError
        As :func:`sim.vm.guest.fetch.kernel.find`.
    """
    if image is None:
        for name, folder in (("headers", headers), ("modules", modules)):
            if folder is not None:
                raise KernelError(f"--{name} is {folder}: needs the kernel as well, KERNEL=")
        kernel = fetch_kernel.find(store, notify, fetch_kernel.FULL)
        compiler, note = _compiler(kernel.headers)
        index = ModuleIndex(kernel.modules)
        return GuestKernel(
            kernel.image, kernel.release, index, kernel.headers, kernel.libraries, compiler, note
        )
    if not image.is_file():
        raise KernelError(f"KERNEL is {image}: there is no such file")
    if headers is None and image.resolve().parent.parts[-3:] == BUILT_IMAGE:
        tree = image.resolve().parents[3]
        headers = tree if (tree / "Makefile").is_file() else None
    elif headers is not None and not (headers / "Makefile").is_file():
        raise KernelError(f"--headers is {headers}: has no Makefile")
    if modules is not None and not modules.is_dir():
        raise KernelError(f"--modules is {modules}: there is no such folder")
    compiler, note = _compiler(headers)
    return GuestKernel(
        image,
        release_of_image(image),
        ModuleIndex(modules or headers),
        headers,
        compiler=compiler,
        compiler_note=note,
    )


def release_of_image(image: Path) -> str | None:
    """The release in a bzImage's header; ``None`` if the file has no such header."""
    data = image.read_bytes()[: 1 << 16]
    if data[BOOT_SIGNATURE] != HEADER_MAGIC:
        return None
    start = SETUP_START + int.from_bytes(data[VERSION_POINTER : VERSION_POINTER + 2], "little")
    text = data[start : start + RELEASE_LIMIT].partition(b"\0")[0].decode(errors="replace")
    return text.partition(" ")[0] or None


def _compiler(headers: Path | None) -> tuple[str, str]:
    """The compiler for a kernel's modules, and a note if it is not the kernel's."""
    version = _configured_version(headers)
    if version is None:
        return COMPILER, ""
    own = f"{COMPILER}-{version}"
    if shutil.which(own) is not None:
        return own, ""
    if shutil.which(COMPILER) is None:
        return own, ""
    outcome = subprocess.run([COMPILER, "-dumpversion"], capture_output=True, text=True)
    present = outcome.stdout.strip().partition(".")[0]
    if present == str(version):
        return COMPILER, ""
    return COMPILER, (
        f"the kernel is built with gcc {version}, and {COMPILER} is version {present}: "
        f"install {own}"
    )


def _configured_version(headers: Path | None) -> int | None:
    """The version of gcc in a kernel's configuration."""
    try:
        text = (headers / ".config").read_text() if headers is not None else ""
    except OSError:
        return None
    found = re.search(r"^CONFIG_GCC_VERSION=(\d+)$", text, re.MULTILINE)
    return int(found[1]) // 10000 or None if found else None
