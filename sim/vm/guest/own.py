# SPDX-License-Identifier: BSD-2-Clause
"""The user's own guest, with the endpoint on its bus, for driver development."""

from __future__ import annotations

import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from ...build import BuildConfiguration
from ...console import list_files, print_plain
from ...shown import shown
from ..serve.commands import MARK
from ..serve.devices import DEFAULT
from ..serve.server import Server
from .errors import GuestError
from .fetch.qemu import Qemu
from .qemu import GDB_PORT, Guest, command_line

DEFAULT_APPEND = "console=ttyS0"
MEMORY_MB = 1024


def boot_own(
    configuration: BuildConfiguration,
    qemu: Qemu,
    *,
    kernel: Path,
    initrd: Path | None,
    append: str | None,
    devices: Sequence[str] | None,
    gdb: bool,
    wait: bool,
    seed: int,
    folder: Path,
    terminal: Console,
) -> int:
    """Boot the user's guest, its console on the terminal; see :func:`command.run_guest`.

    Returns
    -------
    int
        QEMU's exit status.

    Raises
    ------
    GuestError
        A file is missing.
    """
    for name, path in (("KERNEL", kernel), ("INITRD", initrd)):
        if path is not None and not path.is_file():
            raise GuestError(f"{name} is {path}: there is no such file")
    trace, accesses = folder / "trace.jsonl", folder / "accesses.txt"
    with tempfile.TemporaryDirectory(prefix="amp-guest-") as socket_folder:
        control = Path(socket_folder) / "control"
        server = Server(
            configuration,
            Path(socket_folder) / "socket",
            devices=tuple(devices or DEFAULT),
            folder=folder,
            seed=seed,
            trace=trace,
            accesses=accesses,
            control=control,
        )
        with server:
            guest = Guest(
                kernel=kernel,
                initrd=initrd,
                append=DEFAULT_APPEND if append is None else append,
                device=server.device_argument,
                memory_mb=MEMORY_MB,
                console="mon:stdio",
                gdb=gdb,
                wait=wait,
            )
            _print_usage(terminal, trace, accesses, control, gdb or wait, wait)
            reader = threading.Thread(target=_write_events, args=(server, folder / "events.log"))
            reader.start()
            try:
                status = subprocess.run(command_line(qemu, guest)).returncode
            finally:
                server.stop()
                reader.join()
        outcome = server.check()
    files = {
        "waves": outcome.waves,
        "message trace": trace,
        "accesses": accesses,
        "log": outcome.log,
    }
    list_files(terminal, files)
    return status


def _print_usage(
    terminal: Console, trace: Path, accesses: Path, control: Path, gdb: bool, wait: bool
) -> None:
    terminal.print(
        "Ctrl-A X ends the machine, Ctrl-A H lists more keys. The guest's serial output reaches "
        "the terminal unfiltered.",
        style="italic",
    )
    for name, file in (("message", trace), ("access", accesses)):
        print_plain(terminal, f"Each {name}: tail -f {file}")
    print_plain(terminal, f"Change devices: echo '{MARK}help' | nc -N -U {control}")
    if gdb:
        terminal.print(f"gdb VMLINUX -ex 'target remote :{GDB_PORT}'", markup=False)
        terminal.print("(boot with kernel parameter nokaslr, so that addresses match the symbols)")
    if wait:
        terminal.print("The machine waits for gdb's “continue”.")


def _write_events(server: Server, path: Path) -> None:
    """Write the server's events to a file, except messages, which the trace has."""
    with path.open("w", encoding="utf-8") as file:
        for event in server.events():
            if event["kind"] != "message":
                # Escape guest text: each event is one line of this file.
                facts = (f"{name}={str(value).rstrip()}" for name, value in event.items())
                file.write(shown(" ".join(facts)) + "\n")
                file.flush()
