# SPDX-License-Identifier: BSD-2-Clause
"""The user's own guest, with the endpoint on its bus, for driver development."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import tempfile
import threading
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
from .options import GuestOptions
from .qemu import BASE_APPEND, Guest, command_line, print_gdb_usage
from .terminal import KEYS, Terminal

MEMORY_MB = 1024


def boot_own(
    configuration: BuildConfiguration,
    qemu: Qemu,
    options: GuestOptions,
    *,
    kernel: Path,
    initrd: Path | None,
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
        sockets = Path(socket_folder)
        control = sockets / "control"
        server = Server(
            configuration,
            sockets / "socket",
            devices=tuple(options.devices or DEFAULT),
            folder=folder,
            seed=seed,
            revision=options.revision,
            trace=trace,
            accesses=accesses,
            control=control,
            engine=options.engine,
            window_us=options.window_us,
        )
        with server:
            guest = Guest(
                kernel=kernel,
                initrd=initrd,
                append=options.appended(BASE_APPEND),
                device=server.device_argument,
                memory_mb=options.memory_mb or MEMORY_MB,
                gdb=options.gdb,
                wait=options.wait,
                processors=options.processors,
                sockets=[sockets / "console"],
                log=folder / "console.log",
                arguments=options.qemu_arguments,
            )
            _print_usage(terminal, trace, accesses, control, options)
            keyboard = Terminal(server.type)
            reader = threading.Thread(
                target=_write_events, args=(server, folder / "events.log", keyboard)
            )
            reader.start()
            try:
                status = _run(qemu, guest, keyboard)
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


def _run(qemu: Qemu, guest: Guest, keyboard: Terminal) -> int:
    """Run QEMU with its serial port on the terminal; returns its exit status."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(guest.sockets[0]))
        listener.listen(1)
        process = subprocess.Popen(command_line(qemu, guest), stdin=subprocess.DEVNULL)
        connected = threading.Event()
        connection: list[socket.socket] = []

        def output() -> None:
            with contextlib.suppress(OSError):
                connection.append(listener.accept()[0])
                connected.set()
                while data := connection[0].recv(1 << 12):
                    keyboard.output(data)

        thread = threading.Thread(target=output, daemon=True)
        thread.start()
        try:
            keyboard.run(
                lambda data: connection[0].sendall(data) if connected.is_set() else None,
                lambda: process.poll() is None,
            )
        finally:
            process.kill()
            status = process.wait()
        if connected.is_set():
            thread.join()
            connection[0].close()
    return status


def _print_usage(
    terminal: Console, trace: Path, accesses: Path, control: Path, options: GuestOptions
) -> None:
    terminal.print(
        f"{KEYS} The guest's serial output reaches the terminal unfiltered.",
        style="italic",
    )
    for name, file in (("message", trace), ("access", accesses)):
        print_plain(terminal, f"Each {name}: tail -f {file}")
    print_plain(terminal, f"Change devices: echo '{MARK}help' | nc -N -U {control}")
    if options.gdb or options.wait:
        print_gdb_usage(terminal, wait=options.wait)


def _write_events(server: Server, path: Path, keyboard: Terminal) -> None:
    """Write the server's events to a file, except messages, which the trace has."""
    with path.open("w", encoding="utf-8") as file:
        for event in server.events():
            if event["kind"] == "console":
                keyboard.console(str(event["text"]))
            if event["kind"] != "message":
                # Escape guest text: each event is one line of this file.
                facts = (f"{name}={str(value).rstrip()}" for name, value in event.items())
                file.write(shown(" ".join(facts)) + "\n")
                file.flush()
