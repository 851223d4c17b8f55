# SPDX-License-Identifier: BSD-2-Clause
"""Fetches a kernel of the distribution, and the headers to build a module for it.

The cloud flavour is small and boots fast. The full one is the first of the release or its backports
that out-of-tree virtio transports build on, and is kept with its modules.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import DownloadError
from .apt import PackageSource, PrivateApt, mirrors, unpack
from .machine import Debian, installed, require_debian
from .store import Store

RECIPE = 1
USE_YOUR_OWN = "use your own kernel, KERNEL=… INITRD=…"
# Dependencies of the headers that are fetched; the compiler is the machine's.
NEEDED_PREFIXES = ("linux-headers-", "linux-kbuild-")
# Dependencies of an image package that has no files itself.
IMAGE_PREFIXES = ("linux-binary-", "linux-modules-")
LIBRARY_PREFIX = "lib"
FIRST_RELEASE_WITH_NEW_KERNEL = 13
"""Releases of Debian before this one have :attr:`Flavour.oldest` in their backports only."""
THIS_FOLDER = "$(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))"
"""The folder of a makefile, in its own language."""
MODULES = "modules"
"""Folder of the kernel's modules in the store."""


@dataclass(frozen=True)
class Flavour:
    """A kernel to fetch.

    Attributes
    ----------
    name
        Name of its folder in the store.
    metapackage
        Package that depends on the newest one.
    modules
        Keep its modules.
    oldest
        Oldest version, major and minor, that is of use.
    """

    name: str
    metapackage: str
    modules: bool = False
    oldest: tuple[int, int] = (0, 0)


CLOUD = Flavour("kernel", "linux-image-cloud-amd64")
FULL = Flavour("kernel-full", "linux-image-amd64", modules=True, oldest=(6, 12))


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
    modules
        Folder of the kernel's modules; ``None`` if they are not kept.
    """

    release: str
    image: Path
    headers: Path
    libraries: Path
    modules: Path | None = None


def find(store: Store, notify: Callable[[str], None], flavour: Flavour = CLOUD) -> Kernel:
    """The kernel in ``store``, downloaded if missing.

    Raises
    ------
    UnavailableError
        The machine is not Debian.
    DownloadError
        The download failed.
    """
    with store.locked():
        facts = store.facts(flavour.name, RECIPE)
        if facts is None:
            fetch(store, require_debian(USE_YOUR_OWN), notify, flavour)
            facts = store.facts(flavour.name, RECIPE)
    if facts is None:
        raise DownloadError(f"{store.root / flavour.name} is not readable after the download")
    return _kernel(store.root / flavour.name, str(facts["release"]), flavour)


def _kernel(folder: Path, release: str, flavour: Flavour) -> Kernel:
    return Kernel(
        release,
        image=folder / "boot" / f"vmlinuz-{release}",
        headers=folder / "usr/src" / f"linux-headers-{release}",
        libraries=folder / "usr/lib/x86_64-linux-gnu",
        modules=folder / MODULES if flavour.modules else None,
    )


def sources_for(
    release: Debian, machine_sources: Sequence[PackageSource], flavour: Flavour
) -> tuple[list[PackageSource], str | None]:
    """Package sources of a flavour for a release, and the preferred suite."""
    sources = list(machine_sources)
    is_new = release.version is None or release.version >= FIRST_RELEASE_WITH_NEW_KERNEL
    if is_new or flavour.oldest == (0, 0):
        return sources, None
    mirror = next(source.uri for source in sources if release.codename in source.suites)
    backports = f"{release.codename}-backports"
    return [*sources, PackageSource(mirror, (backports,))], backports


def fetch(store: Store, debian: Debian, notify: Callable[[str], None], flavour: Flavour) -> None:
    """Download the newest kernel into the locked ``store``; raises as :func:`find`."""
    sources, preferred = sources_for(debian, mirrors(debian.codename), flavour)
    with store.scratch() as scratch:
        apt_folder, root = scratch / "apt", scratch / flavour.name
        apt_folder.mkdir()
        root.mkdir()
        apt = PrivateApt(apt_folder, sources, release=preferred)
        apt.update()
        release = release_of(apt.show(flavour.metapackage), flavour)
        packages = [
            *image_packages(apt, f"linux-image-{release}", modules=flavour.modules),
            *needed(apt, f"linux-headers-{release}"),
        ]
        size = sum(archive.size for archive in apt.only(packages))
        notify(
            f"downloading Linux {release} of Debian {preferred or debian.codename} and its "
            f"headers: {len(packages)} packages, {size / 1e6:.1f} MB, kept in "
            f"{store.root / flavour.name}"
        )
        for archive in apt.download_only(packages):
            if archive.name.startswith(("linux-image-", *IMAGE_PREFIXES)):
                _extract_kernel(archive, root, release, modules=flavour.modules)
            else:
                unpack(archive, root)
        kernel = _kernel(root, release, flavour)
        parts = {"image": kernel.image, "headers": kernel.headers, "modules": kernel.modules}
        missing = [name for name, path in parts.items() if path is not None and not path.exists()]
        if missing:
            raise DownloadError(
                f"the packages of Linux {release} lack its {' and its '.join(missing)}"
            )
        relocate(kernel.headers)
        store.keep(root, flavour.name, RECIPE, {"release": release, "downloaded_bytes": size})


def release_of(metapackage: dict[str, str], flavour: Flavour = CLOUD) -> str:
    """The kernel's release, from the fields of the metapackage.

    Raises
    ------
    DownloadError
        The metapackage does not depend on a kernel, or the kernel is too old.
    """
    found = re.search(r"\blinux-image-(\S+)", metapackage.get("Depends", ""))
    if found is None:
        raise DownloadError(f"{flavour.metapackage} depends on no kernel")
    release = found[1]
    version = re.match(r"(\d+)\.(\d+)", release)
    if version is None or (int(version[1]), int(version[2])) < flavour.oldest:
        oldest = ".".join(map(str, flavour.oldest))
        raise DownloadError(f"{flavour.metapackage} is Linux {release}: must be {oldest} or newer")
    return release


def image_packages(apt: PrivateApt, package: str, *, modules: bool) -> list[str]:
    """``package`` and those of its dependencies that have the kernel and, optionally, modules."""
    prefixes = IMAGE_PREFIXES if modules else IMAGE_PREFIXES[:1]
    names = dependencies(apt.show(package).get("Depends", ""))
    return [package, *(name for name in names if name.startswith(prefixes))]


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
    """Make the paths of the headers' folders relative in the makefile."""
    makefile = headers / "Makefile"
    text = makefile.read_text().replace(f"=/usr/src/{headers.name}\n", f":={THIS_FOLDER}\n")
    makefile.write_text(text.replace(" /usr/src/", " ../"))


def _extract_kernel(archive: Path, root: Path, release: str, *, modules: bool) -> None:
    """Extract the kernel, as ``boot/vmlinuz-RELEASE``, and optionally the modules."""
    command = ["dpkg-deb", "--fsys-tarfile", str(archive)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as files:
                for member in files:
                    target = _target(member.name, release, modules=modules)
                    contents = files.extractfile(member) if target and member.isreg() else None
                    if target and contents is not None:
                        (root / target).parent.mkdir(parents=True, exist_ok=True)
                        with (root / target).open("wb") as file:
                            shutil.copyfileobj(contents, file)
            process.stdout.read()
        except tarfile.TarError as error:
            raise DownloadError(f"cannot extract {archive.name}: {error}") from error


def _target(member: str, release: str, *, modules: bool) -> str | None:
    """Path in the store of a file of an image package; ``None`` if it is not kept."""
    name = member.removeprefix("./").removeprefix("usr/")
    folder = f"lib/modules/{release}/"
    if name in (f"boot/vmlinuz-{release}", f"{folder}vmlinuz"):
        return f"boot/vmlinuz-{release}"
    inside = name.removeprefix(folder)
    is_module = inside.startswith("kernel/") and ".ko" in inside.rpartition("/")[2]
    if modules and inside != name and (is_module or inside == "modules.builtin"):
        return f"{MODULES}/{inside}" if ".." not in inside.split("/") else None
    return None
