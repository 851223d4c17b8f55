# SPDX-License-Identifier: BSD-2-Clause
"""``python -m sim serve``: prints how to attach a machine, and the messages that cross."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from ... import toolchain
from ...build import BuildConfiguration, BuildError
from ...command import INTERRUPTED
from ...console import building, console, list_files, print_plain
from ...printer import EventPrinter
from ...run import SimulationError
from .commands import MARK
from .devices import DEFAULT
from .qemu import OLDEST, memory_arguments
from .served import place_name
from .server import Server, StoppedError
from .typed import TypedText

MEMORY_MB = 1024
"""Memory of the machine in the printed QEMU options."""


class ServePrinter(EventPrinter):
    """Prints the server's events."""

    def _client(self, state: str, reason: str) -> None:
        self._note(f"client {state}" + (f": {reason}" if reason else ""))

    def _console(self, fifo: int, dev_num: int, text: str) -> None:
        where = f"fifo {fifo} " if self._several else ""
        # Strip the line end, which is CR LF on a terminal.
        for line in text.removesuffix("\n").split("\n"):
            self._line(
                None, (f"{where}console {dev_num}", "magenta"), (line.removesuffix("\r"), "")
            )

    def _answer(self, done: bool, text: str) -> None:
        for line in text.split("\n"):
            self._line(None, (line, "" if done else "red"))

    def _error(self, text: str) -> None:
        self._line(None, (text, "red"))


def run_serve(
    configuration: BuildConfiguration,
    path: Path,
    *,
    devices: Sequence[str] | None = None,
    seed: int | None = None,
    revision: str = "v1",
    trace: Path | None = None,
    accesses: Path | None = None,
    control: Path | None = None,
    quiet: bool = False,
    engine: str | None = None,
    window_us: tuple[float, float] | None = None,
) -> int:
    """Serve until Ctrl-C or SIGTERM.

    Lines of the standard input are commands or text for the consoles, see
    :class:`~sim.vm.serve.typed.TypedText`.

    Parameters
    ----------
    configuration, path, seed, revision, trace, accesses, control, quiet, engine, window_us
        As in :class:`Server`.
    devices
        As in :class:`Server`; the default is :data:`DEFAULT`.

    Returns
    -------
    int
        Exit status.
    """
    terminal = console()
    printer = ServePrinter(terminal, several=configuration.num_fifos > 1)
    devices = tuple(devices or DEFAULT)
    server = Server(
        configuration,
        path,
        devices,
        seed=seed,
        revision=revision,
        trace=trace,
        accesses=accesses,
        control=control,
        quiet=quiet,
        engine=engine,
        window_us=window_us,
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: server.stop())
    try:
        with building(terminal):
            server.__enter__()
    except (StoppedError, BuildError, SimulationError):
        # Ctrl-C interrupts the build's processes as well; their failure is not an error then.
        if server.stopping:
            return INTERRUPTED
        raise
    with contextlib.ExitStack() as stack:
        stack.push(server)
        simulator = toolchain.find(configuration.simulator).name
        print_plain(
            terminal,
            ("The AMP PCI endpoint", "bold"),
            f", {configuration.num_fifos} FIFO(s), {configuration.data_width} bits, on "
            f"{simulator} ({server.engine} engine): {', '.join(devices)}",
        )
        terminal.print(f"QEMU {OLDEST[0]}.{OLDEST[1]} or newer attaches it with", style="italic")
        print_plain(
            terminal,
            f"  {' '.join(memory_arguments(MEMORY_MB))} \\\n  -device '{server.device_argument}'",
        )
        terminal.print(
            f"Ctrl-C stops it. Lines typed here go to the consoles; {MARK}help lists the commands "
            "for devices.",
            style="italic",
        )
        signal.signal(signal.SIGTTIN, signal.SIG_IGN)
        threading.Thread(target=_type_lines, args=(server,), daemon=True).start()
        for event in server.events():
            # After a stop, discard the events that still wait.
            if not server.stopping:
                printer.print_event(event)
    outcome = server.check()
    _print_totals(terminal, server.report)
    list_files(
        terminal,
        {"waves": outcome.waves, "messages": trace, "accesses": accesses, "log": outcome.log},
    )
    return 0


def _print_totals(terminal: Console, report: dict[str, Any]) -> None:
    terminal.print()
    for device in report["devices"]:
        name = place_name((device["fifo"], device["dev_num"]), len(report["dropped_messages"]))
        state = "" if device["here"] else ", removed"
        print_plain(terminal, (f"{name}, {device['device']}{state}", "bold"), f": {device['text']}")
    for fifo, drops in enumerate(report["dropped_messages"]):
        if drops:
            reasons = ", ".join(f"{reason} {count:,}" for reason, count in drops.items())
            dropped = f"{sum(drops.values()):,} messages dropped ({reasons})"
            print_plain(terminal, f"FIFO {fifo}: {dropped}")
    terminal.print(
        f"{report['messages_to_device']:,} messages to devices, "
        f"{report['messages_to_driver']:,} to drivers, {report['interrupts']:,} interrupts, "
        f"{report['reads']:,} reads and {report['writes']:,} writes of guests, "
        f"{report['dma_read_bytes']:,} bytes read and {report['dma_write_bytes']:,} written by "
        f"devices, {report['cycles']:,} cycles."
    )


def _type_lines(server: Server) -> None:
    typed = TypedText(server.type, server.send_command)
    # In the background, with SIGTTIN ignored, a read of the terminal fails with EIO.
    with contextlib.suppress(OSError):
        while data := os.read(0, 1 << 12):
            typed.feed(data)
    typed.end()
