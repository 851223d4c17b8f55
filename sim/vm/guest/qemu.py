# SPDX-License-Identifier: BSD-2-Clause
"""QEMU's command line for a guest with the endpoint on its bus."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..serve.qemu import memory_arguments
from .fetch.qemu import Qemu

MEMORY_MB = 256
DEFAULT_APPEND = "console=ttyS0 panic=-1 quiet"
GDB_PORT = 1234
"""Port of QEMU's gdb server, option ``-s``."""


@dataclass(frozen=True, kw_only=True)
class Guest:
    """A guest to boot.

    Attributes
    ----------
    kernel, initrd
        Files; the initial RAM disk is optional.
    append
        The kernel's command line.
    device
        Argument of ``-device`` for the endpoint.
    memory_mb
        Guest memory, in units of 2**20 bytes.
    console
        QEMU's name of the first serial port's backend.
    results
        File descriptor for the output of the second serial port; ``None`` for no second port.
    gdb
        Listen for gdb.
    wait
        Do not start until gdb continues.
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

    The processor is emulated, so that QEMU also runs inside a virtual machine.
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
