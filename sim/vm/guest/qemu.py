# SPDX-License-Identifier: BSD-2-Clause
"""QEMU's command line for a guest with our function on its bus."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..serve.qemu import memory_arguments
from .fetch_qemu import Qemu

MEMORY_MB = 256
QUIET = "console=ttyS0 panic=-1 quiet"
GDB_PORT = 1234
"""Where QEMU's ``-s`` listens for gdb."""


@dataclass(frozen=True, kw_only=True)
class Guest:
    """What to boot, and how.

    Attributes
    ----------
    kernel, initrd
        Files; the second may be missing.
    append
        The kernel's command line.
    device
        What ``-device`` is given for our function.
    memory_mb
        Guest memory, 2**20 bytes each.
    console
        QEMU's name of what the first serial port is connected to.
    results
        File descriptor that the second serial port is written to, if there is a second one.
    gdb
        Listen for gdb.
    wait
        Do not begin before gdb says so.
    """

    kernel: Path
    initrd: Path | None
    append: str
    device: str
    memory_mb: int = MEMORY_MB
    console: str = "stdio"
    results: int | None = None
    gdb: bool = False
    wait: bool = False


def command_line(qemu: Qemu, guest: Guest) -> list[str]:
    """The program and its arguments.

    The processor is emulated, so that a machine in a machine will do.
    """
    command: list[str] = [
        *qemu.command,
        *("-M", "q35", "-accel", "tcg", "-cpu", "max", "-smp", "1"),
        *memory_arguments(guest.memory_mb),
        *("-nodefaults", "-display", "none", "-no-reboot"),
        *("-kernel", str(guest.kernel)),
    ]
    if guest.initrd is not None:
        command += ["-initrd", str(guest.initrd)]
    command += ["-append", guest.append, "-serial", guest.console]
    if guest.results is not None:
        path = f"/dev/fd/{guest.results}"
        command += ["-chardev", f"file,id=results,path={path}", "-serial", "chardev:results"]
    if guest.gdb or guest.wait:
        command.append("-s")
    if guest.wait:
        command.append("-S")
    return [*command, "-device", guest.device]
