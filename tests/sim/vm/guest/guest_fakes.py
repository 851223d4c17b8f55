# SPDX-License-Identifier: BSD-2-Clause
"""Scripts that replace programs of the system, on a private PATH."""

from __future__ import annotations

from pathlib import Path

QEMU = """#!/bin/sh
case "$*" in
  *--version*) echo "QEMU emulator version {version} (fake)" ;;
  *-device*help*) echo 'name "{device}", bus PCI, desc "fake"' ;;
esac
"""


def program(folder: Path, name: str, text: str) -> Path:
    """An executable script."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)
    return path


def qemu(folder: Path, version: str, device: str = "vfio-user-pci") -> Path:
    """A script that prints a version and a device as QEMU does."""
    return program(folder, "qemu-system-x86_64", QEMU.format(version=version, device=device))
