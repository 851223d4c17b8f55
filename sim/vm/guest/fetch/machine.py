# SPDX-License-Identifier: BSD-2-Clause
"""This machine's Debian release, which selects the sources of QEMU and kernel."""

from __future__ import annotations

import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ..errors import UnavailableError

OS_RELEASE = Path("/etc/os-release")


@dataclass(frozen=True)
class Debian:
    """A Debian release.

    Attributes
    ----------
    codename
        Such as ``bookworm``.
    version
        Such as 12; ``None`` for an unreleased one.
    """

    codename: str
    version: int | None


def debian(os_release: Path = OS_RELEASE, machine: str | None = None) -> Debian | None:
    """This machine's Debian release; ``None`` if it is not Debian on amd64."""
    try:
        text = os_release.read_text()
    except OSError:
        return None
    lines = [line.split("=", 1) for line in text.splitlines() if "=" in line]
    facts = {name: value.strip().strip("\"'") for name, value in lines}
    codename = facts.get("VERSION_CODENAME", "")
    if facts.get("ID") != "debian" or not codename:
        return None
    if (machine or platform.machine()) not in ("x86_64", "amd64"):
        return None
    version = facts.get("VERSION_ID", "")
    return Debian(codename, int(version) if version.isdigit() else None)


def require_debian(advice: str) -> Debian:
    """This machine's Debian release.

    Raises
    ------
    UnavailableError
        The machine is not Debian on amd64; ``advice`` says what to do instead.
    """
    found = debian()
    if found is None:
        raise UnavailableError(f"this machine is not Debian on amd64: {advice}")
    return found


def installed(package: str) -> bool:
    """Whether a Debian package is installed on this machine."""
    outcome = subprocess.run(
        ["dpkg-query", "--show", "--showformat", "${db:Status-Status}", package],
        capture_output=True,
        text=True,
    )
    return outcome.stdout.strip() == "installed"
