# SPDX-License-Identifier: BSD-2-Clause
"""Events that the scenario, in the simulator, writes for the process that prints them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class EventWriter:
    """Writes events as they happen, one JSON object per line.

    Parameters
    ----------
    path
        The file.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")
        self._remaining: int | None = None
        self._omitted = {"message": 0, "interrupt": 0}

    def write(self, kind: str, **facts: Any) -> None:
        """Write an event."""
        if kind in self._omitted and self._remaining is not None:
            if self._remaining == 0:
                self._omitted[kind] += 1
                return
            self._remaining -= kind == "message"
        self._file.write(json.dumps({"kind": kind, **facts}, ensure_ascii=False) + "\n")
        self._file.flush()

    def chapter(self, title: str, text: str) -> None:
        """Begin a chapter."""
        self.write("chapter", title=title, text=text)

    def limit_messages(self, count: int) -> None:
        """Write the next ``count`` messages; only count the others."""
        self._remaining = count

    def show_messages(self) -> None:
        """Write the number of messages left out, and all messages from here on."""
        self._remaining = None
        if any(self._omitted.values()):
            self.write("omitted", messages=self._omitted["message"])
        self._omitted = dict.fromkeys(self._omitted, 0)
