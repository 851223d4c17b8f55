# SPDX-License-Identifier: BSD-2-Clause
"""Follows the events of the server: counts messages and interrupts, keeps consoles and errors."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from ....shown import shown
from ...serve.server import Server

KEPT_CHARACTERS = 1 << 18
"""Characters of the consoles' output that are kept, the latest."""
MOST_ERRORS = 50
"""Errors that are kept until they are taken."""


@dataclass(frozen=True)
class Counts:
    """Messages in both directions, and MSI-X writes."""

    messages: int = 0
    interrupts: int = 0

    def since(self, earlier: Counts) -> Counts:
        """The difference to earlier counts."""
        return Counts(self.messages - earlier.messages, self.interrupts - earlier.interrupts)


class ServerWatch:
    """Reads the server's events in a thread, until the server ends.

    Parameters
    ----------
    server
        The server.
    log
        Called with a line for each event other than a message or an interrupt.

    Attributes
    ----------
    on_console
        Called with each text that a console device gets.
    """

    def __init__(self, server: Server, log: Callable[[str], None]) -> None:
        self.on_console: Callable[[str], None] = lambda text: None
        self._server = server
        self._log = log
        self._lock = threading.Lock()
        self._messages = 0
        self._interrupts = 0
        self._printed = ""
        self._errors: list[str] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @property
    def counts(self) -> Counts:
        """Counts so far."""
        with self._lock:
            return Counts(self._messages, self._interrupts)

    @property
    def printed(self) -> str:
        """What the consoles got, the latest."""
        with self._lock:
            return self._printed

    def take_errors(self) -> list[str]:
        """The errors and hints since the last call."""
        with self._lock:
            errors, self._errors = self._errors, []
            return errors

    def join(self) -> None:
        """Wait until the server has ended."""
        self._thread.join()

    def _read(self) -> None:
        for event in self._server.events():
            kind = event["kind"]
            with self._lock:
                if kind == "message":
                    self._messages += 1
                elif kind == "interrupt":
                    self._interrupts += 1
                elif kind == "omitted":
                    self._messages += event["messages"]
                elif kind == "console":
                    text = self._printed + str(event["text"])
                    self._printed = text[-KEPT_CHARACTERS:]
                elif kind in ("error", "note") and len(self._errors) < MOST_ERRORS:
                    self._errors.append(str(event["text"]))
            if kind not in ("message", "interrupt", "omitted"):
                facts = (f"{name}={str(value).rstrip()}" for name, value in event.items())
                self._log(shown(" ".join(facts)))
            if kind == "console":
                self.on_console(str(event["text"]))
