# SPDX-License-Identifier: BSD-2-Clause
"""Events that the scenario, in the simulator, writes for the process that prints them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class Story:
    """Writes events as they happen, one JSON object per line.

    Parameters
    ----------
    path
        The file.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")
        self._left: int | None = None
        self._untold = {"message": 0, "interrupt": 0}

    def tell(self, kind: str, **facts: Any) -> None:
        """Write an event."""
        if kind in self._untold and self._left is not None:
            if self._left == 0:
                self._untold[kind] += 1
                return
            self._left -= kind == "message"
        self._file.write(json.dumps({"kind": kind, **facts}, ensure_ascii=False) + "\n")
        self._file.flush()

    def chapter(self, title: str, text: str) -> None:
        """Begin a chapter."""
        self.tell("chapter", title=title, text=text)

    def limit_messages(self, count: int) -> None:
        """Write the next ``count`` messages; only count the others."""
        self._left = count

    def show_messages(self) -> None:
        """Write the number of messages left out, and all messages from here on."""
        self._left = None
        if any(self._untold.values()):
            self.tell("untold", messages=self._untold["message"])
        self._untold = dict.fromkeys(self._untold, 0)
