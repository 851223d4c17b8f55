# SPDX-License-Identifier: BSD-2-Clause
"""Fetches the distribution's cloud kernel, and the headers to build a module for it."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import DownloadError
from .apt import PrivateApt, mirrors, unpack
from .machine import Debian, installed, require_debian
from .store import Store

NAME = "kernel"
RECIPE = 1
METAPACKAGE = "linux-image-cloud-amd64"
USE_YOUR_OWN = "use your own kernel, KERNEL=… INITRD=…"
# Dependencies of the headers that are fetched; the compiler is the machine's.
NEEDED_PREFIXES = ("linux-headers-", "linux-kbuild-")
LIBRARY_PREFIX = "lib"


@dataclass(frozen=True)
class Kernel:
    """A kernel, and the headers to build modules with.

    Attributes
    ----------
    release
        Release, as ``uname -r`` prints it.
    image
        The bzImage.
    headers
        Folder of the headers.
    libraries
        Folder of libraries that the headers' programs need and the machine lacks.
    """

    release: str
    image: Path
    headers: Path
    libraries: Path


def find(store: Store, notify: Callable[[str], None]) -> Kernel:
    """The kernel in ``store``, downloaded if missing.

    Raises
    ------
    UnavailableError
        The machine is not Debian.
    DownloadError
        The download failed.
    """
    with store.locked():
        facts = store.facts(NAME, RECIPE)
        if facts is None:
            fetch(store, require_debian(USE_YOUR_OWN), notify)
            facts = store.facts(NAME, RECIPE)
    if facts is None:
        raise DownloadError(f"{store.root / NAME} is not readable after the download")
    return _kernel(store.root / NAME, str(facts["release"]))


def _kernel(folder: Path, release: str) -> Kernel:
    return Kernel(
        release,
        image=folder / "boot" / f"vmlinuz-{release}",
        headers=folder / "usr/src" / f"linux-headers-{release}",
        libraries=folder / "usr/lib/x86_64-linux-gnu",
    )


def fetch(store: Store, debian: Debian, notify: Callable[[str], None]) -> None:
    """Download the newest kernel into the locked ``store``; raises as :func:`find`."""
    with store.scratch() as scratch:
        apt_folder, root = scratch / "apt", scratch / NAME
        apt_folder.mkdir()
        root.mkdir()
        apt = PrivateApt(apt_folder, mirrors(debian.codename))
        apt.update()
        release = release_of(apt.show(METAPACKAGE))
        packages = [f"linux-image-{release}", *needed(apt, f"linux-headers-{release}")]
        size = sum(archive.size for archive in apt.only(packages))
        notify(
            f"downloading Linux {release} of Debian {debian.codename} and its headers: "
            f"{len(packages)} packages, {size / 1e6:.1f} MB, kept in {store.root / NAME}"
        )
        for archive in apt.download_only(packages):
            if archive.name.startswith("linux-image-"):
                _extract_boot(archive, root)
            else:
                unpack(archive, root)
        kernel = _kernel(root, release)
        if not kernel.image.exists() or not kernel.headers.exists():
            raise DownloadError(f"the packages of Linux {release} lack its image or its headers")
        relocate(kernel.headers)
        store.keep(root, NAME, RECIPE, {"release": release, "downloaded_bytes": size})


def release_of(metapackage: dict[str, str]) -> str:
    """The kernel's release, from the fields of the metapackage.

    Raises
    ------
    DownloadError
        The metapackage does not depend on a kernel.
    """
    found = re.search(r"\blinux-image-(\S+)", metapackage.get("Depends", ""))
    if found is None:
        raise DownloadError(f"{METAPACKAGE} depends on no kernel")
    return found[1]


def needed(apt: PrivateApt, package: str) -> list[str]:
    """``package`` and those of its dependencies that building a module needs."""
    found: list[str] = []
    pending = [package]
    while pending:
        name = pending.pop()
        if name in found:
            continue
        found.append(name)
        pending += [
            dependency
            for dependency in dependencies(apt.show(name).get("Depends", ""))
            if dependency.startswith(NEEDED_PREFIXES)
            or (dependency.startswith(LIBRARY_PREFIX) and not installed(dependency))
        ]
    return found


def dependencies(field: str) -> Iterator[str]:
    """Yield the package names in a ``Depends`` field; of alternatives only the first."""
    for part in field.split(","):
        name = part.split("|")[0].split("(")[0].strip().split(":")[0]
        if name:
            yield name


def relocate(headers: Path) -> None:
    """Make the include path of the common headers relative in the makefile."""
    makefile = headers / "Makefile"
    makefile.write_text(makefile.read_text().replace(" /usr/src/", " ../"))


def _extract_boot(archive: Path, root: Path) -> None:
    """Extract only the kernel: the package's modules are several times as large."""
    command = ["dpkg-deb", "--fsys-tarfile", str(archive)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as files:
                for member in files:
                    found = re.fullmatch(r"\./boot/(vmlinuz-[\w.+-]+)", member.name)
                    contents = files.extractfile(member) if found else None
                    if found and contents is not None:
                        (root / "boot").mkdir(exist_ok=True)
                        with (root / "boot" / found[1]).open("wb") as image:
                            shutil.copyfileobj(contents, image)
            process.stdout.read()
        except tarfile.TarError as error:
            raise DownloadError(f"cannot extract {archive.name}: {error}") from error
