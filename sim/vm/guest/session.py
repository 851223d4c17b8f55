# SPDX-License-Identifier: BSD-2-Clause
"""One run of our own guest: QEMU and server beside each other, followed until both have ended."""

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

from ...lab.demo.data import TYPED
from ..serve.server import Server
from .facts import CONSOLE_LINE
from .fetch_qemu import Qemu
from .qemu import Guest, command_line
from .report import FAILED, GuestReport, HostRecord
from .story import GuestTeller

TIMEOUT_S = 170.0
"""How long the guest may take, from power on to its end."""
END_S = 10.0
"""How long a process may take to end when it is told to."""
SHOWN_LINES = 30
KEPT_CHARACTERS = 1 << 16
"""Of what the guest prints on its console device, the newest."""
MOST_WAITING = 1000
"""Events that wait for their turn."""

Event = dict[str, Any]


class GuestSession:
    """Runs the guest and collects what it tells.

    Parameters
    ----------
    server
        Serves the endpoint.
    teller
        Is told everything.
    told, witness
        Where what guest and host say is put.
    folder
        Where logs go.
    timeout_s
        How long it may take.

    Attributes
    ----------
    boot_s
        How long it took until the program began; None if it did not.
    """

    def __init__(
        self,
        server: Server,
        teller: GuestTeller,
        told: GuestReport,
        witness: HostRecord,
        folder: Path,
        *,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.boot_s: float | None = None
        self._server = server
        self._teller = teller
        self._told = told
        self._witness = witness
        self._console_log = folder / "console.log"
        self._results = folder / "results.jsonl"
        self._timeout_s = timeout_s
        # Readers wait where it is full; what the server has to say is then counted and dropped.
        self._events: queue.Queue[tuple[str, Event | None]] = queue.Queue(MOST_WAITING)
        self._typed = False
        self._reading = {"guest", "server"}

    def run(self, qemu: Qemu, kernel: Path, initrd: Path, append: str) -> None:
        """Boot the guest; returns when QEMU and the simulation have ended."""
        reading, writing = os.pipe()
        guest = Guest(
            kernel=kernel,
            initrd=initrd,
            append=append,
            device=self._server.device_argument,
            results=writing,
        )
        readers = [
            threading.Thread(target=self._read_guest, args=(reading,), daemon=True),
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
                    pass_fds=[writing],
                )
        finally:
            # What is left is QEMU's: when that ends, so does what is read.
            os.close(writing)
            for reader in readers:
                reader.start()
        try:
            with ended(process):
                if self._follow_guest(started):
                    self._note_exit(process)
        finally:
            self._server.stop()
            for source, event in self._rest():
                self._note(source, event, started)
            for reader in readers:
                reader.join()
        self._teller.end_chapter()

    def _follow_guest(self, started: float) -> bool:
        """Until the guest's end, or for as long as it may take; whether it ended by itself."""
        while True:
            left = started + self._timeout_s - time.monotonic()
            try:
                source, event = self._take(max(left, 0.0))
            except queue.Empty:
                self._problem(f"the guest did not end within {self._timeout_s:g} s")
                return False
            if source == "guest" and event is None:
                return True
            self._note(source, event, started)
            if source == "server" and event is None:
                self._problem("the server ended before the guest")
                return False

    def _note_exit(self, process: subprocess.Popen[bytes]) -> None:
        try:
            status = process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._problem("QEMU does not end")
            return
        if status:
            self._problem("\n".join([f"QEMU ended with status {status}", *self._last_lines()]))
        elif not self._told.all("done") and self._told.failure is None:
            self._problem("\n".join(["the guest's console ends with", *self._last_lines()]))

    def _last_lines(self) -> list[str]:
        return self._console_log.read_text(errors="replace").splitlines()[-SHOWN_LINES:]

    def _rest(self) -> Iterator[tuple[str, Event]]:
        """What comes until both readers have ended."""
        while self._reading:
            source, event = self._take()
            if event is not None:
                yield source, event

    def _take(self, timeout_s: float | None = None) -> tuple[str, Event | None]:
        """The next event and its source; ``None`` when that has ended. Raises ``queue.Empty``."""
        source, event = self._events.get(timeout=timeout_s)
        if event is None:
            self._reading.discard(source)
        return source, event

    def _note(self, source: str, event: Event | None, started: float) -> None:
        if event is None:
            return
        if source == "server":
            self._note_server(event)
            self._teller.server(event)
            return
        self._told.add(event)
        if event.get("event") == "booted":
            self.boot_s = round(time.monotonic() - started, 3)
        if event.get("event") == FAILED:
            # The console says what the kernel thinks of it.
            self._teller.end_chapter()
        self._teller.guest(event)

    def _note_server(self, event: Mapping[str, Any]) -> None:
        if event["kind"] == "console":
            printed = self._witness.printed + str(event["text"])
            self._witness.printed = printed[-KEPT_CHARACTERS:]
            if not self._typed and CONSOLE_LINE in self._witness.printed:
                self._typed = True
                self._server.type(TYPED.decode())
        elif event["kind"] == "error":
            self._problem(f"server: {event.get('text')}")

    def _problem(self, text: str) -> None:
        self._witness.problems.append(text)

    def _read_guest(self, reading: int) -> None:
        """Each line of the second serial port is an event; what is none is a problem."""
        try:
            with (
                open(reading, encoding="ascii", errors="replace") as lines,
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
    """What the guest wrote, or the failure that it wrote no event."""
    try:
        event = json.loads(line)
    except ValueError:
        event = None
    if isinstance(event, dict):
        return event
    return {"event": FAILED, "step": "results", "text": f"no event: {line!r}"}


@contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Leave no process behind, whatever happens."""
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
