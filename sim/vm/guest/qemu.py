# SPDX-License-Identifier: BSD-2-Clause
"""QEMU's command line for a guest with the endpoint on its bus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from ..serve.qemu import memory_arguments
from .fetch.qemu import Qemu

MEMORY_MB = 256
BASE_APPEND = "console=ttyS0 panic=-1"
"""Kernel parameters of every guest: a panic ends the machine."""
DEFAULT_APPEND = f"{BASE_APPEND} quiet"
"""Those of the built-in guest."""
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
    processors
        Number of processors.
    reboots
        A reboot starts the machine again; otherwise it ends QEMU.
    sockets
        Sockets for the serial ports, in place of ``console`` and ``results``. QEMU connects to
        them. The first is also the monitor's, by the key Ctrl-A C.
    log
        File of the first serial port's output, with ``sockets``.
    arguments
        Further arguments of QEMU.
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
    processors: int = 1
    reboots: bool = False
    sockets: Sequence[Path] = ()
    log: Path | None = None
    arguments: Sequence[str] = ()


def command_line(qemu: Qemu, guest: Guest) -> list[str]:
    """The program and its arguments.

    The processor is emulated, so that QEMU also runs inside a virtual machine.
    """
    command: list[str] = [
        *qemu.command,
        *("-M", "q35", "-accel", "tcg", "-cpu", "max", "-smp", str(guest.processors)),
        *memory_arguments(guest.memory_mb),
        *("-nodefaults", "-display", "none"),
        *("-kernel", str(guest.kernel)),
    ]
    if not guest.reboots:
        command.append("-no-reboot")
    if guest.initrd is not None:
        command += ["-initrd", str(guest.initrd)]
    command += ["-append", guest.append]
    if guest.sockets:
        command += _socket_arguments(guest)
    else:
        command += ["-serial", guest.console]
    if guest.results is not None:
        path = f"/dev/fd/{guest.results}"
        command += ["-chardev", f"file,id=results,path={path}", "-serial", "chardev:results"]
    if guest.gdb or guest.wait:
        command.append("-s")
    if guest.wait:
        command.append("-S")
    return [*command, *guest.arguments, "-device", guest.device]


def print_gdb_usage(terminal: Console, *, wait: bool) -> None:
    """Print how to connect gdb to a machine that listens for it."""
    terminal.print(f"gdb VMLINUX -ex 'target remote :{GDB_PORT}'", markup=False)
    terminal.print("(boot with kernel parameter nokaslr, so that addresses match the symbols)")
    if wait:
        terminal.print("The machine waits for gdb's “continue”.")


def _socket_arguments(guest: Guest) -> list[str]:
    """Options for serial ports at :attr:`Guest.sockets`."""
    arguments: list[str] = []
    for number, path in enumerate(guest.sockets):
        options = f"socket,id=serial{number},path={path}"
        if number == 0:
            options += ",mux=on"
            if guest.log is not None:
                options += f",logfile={guest.log},logappend=on"
            arguments += ["-monitor", "chardev:serial0"]
        arguments += ["-chardev", options, "-serial", f"chardev:serial{number}"]
    return arguments
