# SPDX-License-Identifier: BSD-2-Clause
"""One run of the built-in guest: QEMU and server in parallel, until both have ended."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...workload import TYPED
from ..serve.server import Server
from .facts import CONSOLE_LINE
from .fetch.qemu import Qemu
from .options import GuestOptions
from .qemu import DEFAULT_APPEND, MEMORY_MB, Guest, command_line
from .report import FAILED, GuestReport, HostRecord
from .reporter import GuestReporter

TIMEOUT_S = 170.0
"""Time limit of the guest, from power on to its end."""
END_S = 10.0
"""Time in which a process must end when requested to."""
SHOWN_LINES = 30
KEPT_CHARACTERS = 1 << 16
"""The number of characters kept of the console device's output, the latest."""
MOST_WAITING = 1000
"""Capacity of the queue of events."""

Event = dict[str, Any]


class GuestSession:
    """Runs the guest and collects its events.

    Parameters
    ----------
    server
        Serves the endpoint.
    reporter
        Prints all events.
    guest_report, host_record
        Collect the guest's events and the host's record.
    folder
        Folder of logs.
    timeout_s
        Time limit.

    Attributes
    ----------
    boot_s
        Seconds until the guest's program started; ``None`` if it did not.
    """

    def __init__(
        self,
        server: Server,
        reporter: GuestReporter,
        guest_report: GuestReport,
        host_record: HostRecord,
        folder: Path,
        *,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.boot_s: float | None = None
        self._server = server
        self._reporter = reporter
        self._guest_report = guest_report
        self._host_record = host_record
        self._console_log = folder / "console.log"
        self._results = folder / "results.jsonl"
        self._timeout_s = timeout_s
        # Readers block while it is full; the server's channel then counts and drops events.
        self._events: queue.Queue[tuple[str, Event | None]] = queue.Queue(MOST_WAITING)
        self._typed = False
        self._open_sources = {"guest", "server"}

    def run(self, qemu: Qemu, kernel: Path, initrd: Path, options: GuestOptions) -> None:
        """Boot the guest; returns when QEMU and the simulation have ended."""
        pipe_read, pipe_write = os.pipe()
        guest = Guest(
            kernel=kernel,
            initrd=initrd,
            append=options.appended(DEFAULT_APPEND),
            device=self._server.device_argument,
            memory_mb=options.memory_mb or MEMORY_MB,
            processors=options.processors,
            results=pipe_write,
            arguments=options.qemu_arguments,
        )
        readers = [
            threading.Thread(target=self._read_guest, args=(pipe_read,), daemon=True),
            threading.Thread(target=self._read_server, daemon=True),
        ]
        started = time.monotonic()
        try:
            with self._console_log.open("wb") as log:
                process = subprocess.Popen(
                    command_line(qemu, guest),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    pass_fds=[pipe_write],
                )
        finally:
            # QEMU has the only other copy: reading ends when QEMU does.
            os.close(pipe_write)
            for reader in readers:
                reader.start()
        try:
            with ending(process):
                if self._follow_guest(started):
                    self._record_exit(process)
        finally:
            self._server.stop()
            for source, event in self._remaining_events():
                self._record(source, event, started)
            for reader in readers:
                reader.join()
        self._reporter.end_chapter()

    def _follow_guest(self, started: float) -> bool:
        """Process events until the guest or its time ends; returns whether the guest ended."""
        while True:
            remaining_s = started + self._timeout_s - time.monotonic()
            try:
                source, event = self._next_event(max(remaining_s, 0.0))
            except queue.Empty:
                self._add_problem(f"the guest did not end within {self._timeout_s:g} s")
                return False
            if source == "guest" and event is None:
                return True
            self._record(source, event, started)
            if source == "server" and event is None:
                self._add_problem("the server ended before the guest")
                return False

    def _record_exit(self, process: subprocess.Popen[bytes]) -> None:
        try:
            status = process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._add_problem(f"QEMU did not end within {END_S:g} s")
            return
        if status:
            self._add_problem("\n".join([f"QEMU ended with status {status}", *self._last_lines()]))
        elif not self._guest_report.all("done") and self._guest_report.failure is None:
            self._add_problem("\n".join(["the guest's console ends with", *self._last_lines()]))

    def _last_lines(self) -> list[str]:
        return self._console_log.read_text(errors="replace").splitlines()[-SHOWN_LINES:]

    def _remaining_events(self) -> Iterator[tuple[str, Event]]:
        """Yield the remaining events, until both readers have ended."""
        while self._open_sources:
            source, event = self._next_event()
            if event is not None:
                yield source, event

    def _next_event(self, timeout_s: float | None = None) -> tuple[str, Event | None]:
        """The next event and its source; ``None`` at a source's end. Raises ``queue.Empty``."""
        source, event = self._events.get(timeout=timeout_s)
        if event is None:
            self._open_sources.discard(source)
        return source, event

    def _record(self, source: str, event: Event | None, started: float) -> None:
        if event is None:
            return
        if source == "server":
            self._record_server_event(event)
            self._reporter.server(event)
            return
        self._guest_report.add(event)
        if event.get("event") == "booted":
            self.boot_s = round(time.monotonic() - started, 3)
        if event.get("event") == FAILED:
            # Print the chapter's omitted messages before the failure ends the output.
            self._reporter.end_chapter()
        self._reporter.guest(event)

    def _record_server_event(self, event: Mapping[str, Any]) -> None:
        if event["kind"] == "console":
            printed = self._host_record.printed + str(event["text"])
            self._host_record.printed = printed[-KEPT_CHARACTERS:]
            if not self._typed and CONSOLE_LINE in self._host_record.printed:
                self._typed = True
                self._server.type(TYPED.decode())
        elif event["kind"] == "error":
            self._add_problem(f"server: {event.get('text')}")

    def _add_problem(self, text: str) -> None:
        self._host_record.problems.append(text)

    def _read_guest(self, pipe_read: int) -> None:
        """Read the second serial port, one event per line; any other line is a failure."""
        try:
            with (
                open(pipe_read, encoding="ascii", errors="replace") as lines,
                self._results.open("w") as log,
            ):
                for line in lines:
                    log.write(line)
                    self._events.put(("guest", parse_event(line)))
        finally:
            self._events.put(("guest", None))

    def _read_server(self) -> None:
        try:
            for event in self._server.events():
                self._events.put(("server", event))
        finally:
            self._events.put(("server", None))


def parse_event(line: str) -> Event:
    """The event in ``line``, or a failure event if ``line`` is not an event."""
    try:
        event = json.loads(line)
    except ValueError:
        event = None
    if isinstance(event, dict):
        return event
    return {"event": FAILED, "step": "results", "text": f"not an event: {line!r}"}


@contextmanager
def ending(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """End ``process`` at the end of the context, also after an exception."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
