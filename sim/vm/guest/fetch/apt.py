# SPDX-License-Identifier: BSD-2-Clause
"""A private apt: uses the machine's mirrors, proxies and keys, but none of its state.

apt reads the machine's configuration as usual. Options override everything that would modify the
system or need root. The status file lists no installed package, so the packages to install are all
that a program needs, libc included.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import DownloadError

ARCHITECTURE = "amd64"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
# The machine's hooks run after an update, and some of them change its state.
HOOKS = (
    "APT::Update::Pre-Invoke",
    "APT::Update::Post-Invoke",
    "APT::Update::Post-Invoke-Success",
    "DPkg::Pre-Install-Pkgs",
    "DPkg::Pre-Invoke",
    "DPkg::Post-Invoke",
)
SHOWN_LINES = 6
TIMEOUT_S = 1200.0
"""Time limit of an apt command; apt gives up on servers that do not respond before."""


@dataclass(frozen=True)
class PackageSource:
    """Suites of one mirror.

    Attributes
    ----------
    uri
        Address of the mirror.
    suites
        Names of the suites; only their component ``main`` is used.
    """

    uri: str
    suites: tuple[str, ...]


@dataclass(frozen=True)
class Archive:
    """A package archive to download.

    Attributes
    ----------
    name
        File name of the archive.
    size
        Bytes.
    """

    name: str
    size: int


def mirrors(codename: str) -> list[PackageSource]:
    """The machine's apt sources of release ``codename``: release, updates, security.

    Raises
    ------
    DownloadError
        The machine has no such source.
    """
    line_format = "$(REPO_URI) $(RELEASE) $(COMPONENT)"
    # Release info exists only after an update of the machine's own lists.
    options = ["--no-release-info", "--format", line_format]
    command = ["apt-get", "indextargets", *options, "Created-By: Packages"]
    suites_of_release = {codename, f"{codename}-updates", f"{codename}-security"}
    found: dict[str, list[str]] = {}
    for line in _run(command).splitlines():
        uri, suite, component = (*line.split(), "", "", "")[:3]
        if (
            suite in suites_of_release
            and component == "main"
            and suite not in found.setdefault(uri, [])
        ):
            found[uri].append(suite)
    sources = [PackageSource(uri, tuple(suites)) for uri, suites in found.items() if suites]
    if not any(codename in source.suites for source in sources):
        raise DownloadError(f"apt on this machine has no source of Debian {codename}, main")
    return sources


class PrivateApt:
    """apt with all its state in ``folder``.

    Parameters
    ----------
    folder
        An empty folder, which may be removed afterwards.
    sources
        Sources of packages.
    release
        The preferred suite.
    """

    def __init__(
        self, folder: Path, sources: Sequence[PackageSource], *, release: str | None = None
    ) -> None:
        self._folder = folder
        self._configuration = folder / "apt.conf"
        self._archives = folder / "archives"
        for name in ("state/lists/partial", "cache", "archives/partial"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "status").touch()
        (folder / "own.sources").write_text("\n".join(map(_stanza, sources)))
        self._configuration.write_text(self._options(release))

    def _options(self, release: str | None) -> str:
        values = {
            "Dir::State": self._folder / "state",
            "Dir::State::status": self._folder / "status",
            "Dir::Cache": self._folder / "cache",
            "Dir::Cache::archives": self._archives,
            "Dir::Etc::sourcelist": self._folder / "own.sources",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
            "APT::Architecture": ARCHITECTURE,
            "APT::Default-Release": release or "",
            "APT::Install-Recommends": "false",
            "APT::Get::Download-Only": "true",
            # By default an unreachable source is only a warning.
            "APT::Update::Error-Mode": "any",
            # Root's apt downloads as another user, which cannot read the folder.
            "APT::Sandbox::User": "root",
            "Acquire::Check-Valid-Until": "false",
            "Acquire::Languages": "none",
            "Acquire::Retries": "2",
            "Debug::NoLocking": "true",
        }
        lines = [f"#clear {hook};" for hook in HOOKS]
        lines += ["#clear APT::Architectures;", f'APT::Architectures {{ "{ARCHITECTURE}"; }};']
        return "\n".join([*lines, *(f'{name} "{value}";' for name, value in values.items()), ""])

    def update(self) -> None:
        """Fetch the lists of packages.

        Raises
        ------
        DownloadError
            A source could not be reached or has no good signature.
        """
        if not KEYRING.exists():
            raise DownloadError(
                f"{KEYRING} is missing (Debian: apt-get install debian-archive-keyring)"
            )
        self._apt("apt-get", "-qq", "update")

    def show(self, package: str) -> dict[str, str]:
        """The fields of the version of ``package`` that apt would install.

        Raises
        ------
        DownloadError
            No source has the package.
        """
        text = self._apt("apt-cache", "show", "--no-all-versions", package)
        fields = [line.split(": ", 1) for line in text.splitlines() if not line.startswith(" ")]
        found = dict(field for field in fields if len(field) == 2)
        if "Version" not in found:
            raise DownloadError(f"no source has a package {package}")
        return found

    def closure(self, packages: Sequence[str]) -> list[Archive]:
        """These packages and all their dependencies."""
        return _archives(self._apt("apt-get", "-qq", "--yes", "--print-uris", "install", *packages))

    def download_closure(self, packages: Sequence[str]) -> list[Path]:
        """Download :meth:`closure`; returns the files, verified."""
        self._apt("apt-get", "-qq", "--yes", "install", *packages)
        return sorted(self._archives.glob("*.deb"))

    def only(self, packages: Sequence[str]) -> list[Archive]:
        """These packages without their dependencies."""
        return _archives(self._apt("apt-get", "-qq", "--print-uris", "download", *packages))

    def download_only(self, packages: Sequence[str]) -> list[Path]:
        """Download :meth:`only`; returns the files, verified."""
        self._apt("apt-get", "-qq", "download", *packages, folder=self._archives)
        return sorted(self._archives.glob("*.deb"))

    def _apt(self, program: str, *arguments: str, folder: Path | None = None) -> str:
        return _run([program, "-c", str(self._configuration), *arguments], folder)


def unpack(archive: Path, root: Path) -> None:
    """Extract a package's files.

    Raises
    ------
    DownloadError
        The archive is broken, or the disk is full.
    """
    outcome = subprocess.run(
        ["dpkg-deb", "--extract", str(archive), str(root)], capture_output=True, text=True
    )
    if outcome.returncode:
        raise DownloadError(f"cannot extract {archive.name}: {outcome.stderr.strip()}")


def _stanza(source: PackageSource) -> str:
    return (
        f"Types: deb\nURIs: {source.uri}\nSuites: {' '.join(source.suites)}\nComponents: main\n"
        f"Targets: Packages\nSigned-By: {KEYRING}\n"
    )


def _run(command: Sequence[str], folder: Path | None = None) -> str:
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        outcome = subprocess.run(
            command,
            capture_output=True,
            text=True,
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            timeout=TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise DownloadError(f"{command[0]} did not end within {TIMEOUT_S:g} s") from error
    except FileNotFoundError as error:
        raise DownloadError(f"{command[0]} is not on this machine") from error
    if outcome.returncode:
        output = (outcome.stderr.strip() or outcome.stdout.strip()).splitlines()[-SHOWN_LINES:]
        raise DownloadError("\n".join([f"{command[0]} failed", *output]))
    return outcome.stdout


def _archives(text: str) -> list[Archive]:
    return list(_parse_archives(text))


def _parse_archives(text: str) -> Iterator[Archive]:
    """Parse apt's output, one line per archive: 'URI' name size hash."""
    for line in text.splitlines():
        fields = line.split()
        if len(fields) >= 3 and line.startswith("'"):
            yield Archive(fields[1], int(fields[2]))
