# SPDX-License-Identifier: BSD-2-Clause
"""The distribution's kernel for clouds, and what a module for it is built with."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .apt import PrivateApt, mirrors, unpack
from .errors import DownloadError
from .machine import Debian, installed, require_debian
from .store import Store

NAME = "kernel"
RECIPE = 1
METAPACKAGE = "linux-image-cloud-amd64"
BRING_YOUR_OWN = "bring a kernel of your own, KERNEL=… INITRD=…"
# Of what headers depend on: not the compiler, which is the machine's own.
PARTS = ("linux-headers-", "linux-kbuild-")
LIBRARY = "lib"


@dataclass(frozen=True)
class Kernel:
    """A kernel, and the tree to build modules in.

    Attributes
    ----------
    release
        What ``uname -r`` says in it.
    image
        The bzImage.
    headers
        The tree.
    libraries
        Folder with libraries that the tree's programs need and the machine lacks.
    """

    release: str
    image: Path
    headers: Path
    libraries: Path


def find(store: Store, tell: Callable[[str], None]) -> Kernel:
    """The kernel in ``store``, which is fetched if it is not there yet.

    Raises
    ------
    UnavailableError
        The machine is no Debian.
    DownloadError
        It cannot be fetched.
    """
    with store.locked():
        facts = store.facts(NAME, RECIPE)
        if facts is None:
            fetch(store, require_debian(BRING_YOUR_OWN), tell)
            facts = store.facts(NAME, RECIPE)
    if facts is None:
        raise DownloadError(f"{store.root / NAME} is not what was put there")
    return _kernel(store.root / NAME, str(facts["release"]))


def _kernel(folder: Path, release: str) -> Kernel:
    return Kernel(
        release,
        image=folder / "boot" / f"vmlinuz-{release}",
        headers=folder / "usr/src" / f"linux-headers-{release}",
        libraries=folder / "usr/lib/x86_64-linux-gnu",
    )


def fetch(store: Store, debian: Debian, tell: Callable[[str], None]) -> None:
    """Fetch the newest into ``store``, which is locked; raises as :func:`find`."""
    with store.scratch() as scratch:
        apt_folder, root = scratch / "apt", scratch / NAME
        apt_folder.mkdir()
        root.mkdir()
        apt = PrivateApt(apt_folder, mirrors(debian.codename))
        apt.update()
        release = release_of(apt.show(METAPACKAGE))
        packages = [f"linux-image-{release}", *needed(apt, f"linux-headers-{release}")]
        size = sum(archive.size for archive in apt.only(packages))
        tell(
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
    """The kernel's release, of the fields of the metapackage.

    Raises
    ------
    DownloadError
        It depends on no kernel.
    """
    found = re.search(r"\blinux-image-(\S+)", metapackage.get("Depends", ""))
    if found is None:
        raise DownloadError(f"{METAPACKAGE} depends on no kernel")
    return found[1]


def needed(apt: PrivateApt, package: str) -> list[str]:
    """``package`` and what building a module takes of what it depends on."""
    found: list[str] = []
    waiting = [package]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.append(name)
        waiting += [
            other
            for other in dependencies(apt.show(name).get("Depends", ""))
            if other.startswith(PARTS) or (other.startswith(LIBRARY) and not installed(other))
        ]
    return found


def dependencies(field: str) -> Iterator[str]:
    """The package names in a ``Depends`` field, of alternatives the first."""
    for part in field.split(","):
        name = part.split("|")[0].split("(")[0].strip().split(":")[0]
        if name:
            yield name


def relocate(headers: Path) -> None:
    """Have the tree's makefile include its other half from beside it, wherever both are."""
    makefile = headers / "Makefile"
    makefile.write_text(makefile.read_text().replace(" /usr/src/", " ../"))


def _extract_boot(archive: Path, root: Path) -> None:
    """The kernel alone: the modules beside it are several times as large."""
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
