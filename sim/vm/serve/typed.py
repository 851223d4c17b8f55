# SPDX-License-Identifier: BSD-2-Clause
"""What is typed at the server: text for the consoles, and lines that are commands."""

from __future__ import annotations

import codecs
from collections.abc import Callable

from .commands import MARK

LONGEST_COMMAND = 4096
"""Characters."""


class TypedText:
    """Tells text from commands; :meth:`feed` it what the terminal gives.

    A line that begins with ``!`` is a command, one that begins with ``!!`` is the text after the
    first of them. All other text goes on as it comes, whole lines or not.

    Parameters
    ----------
    text
        Called with text for the consoles.
    command
        Called with each line that is a command, without its end.
    """

    def __init__(self, text: Callable[[str], None], command: Callable[[str], None]) -> None:
        self._text = text
        self._command = command
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""
        self._line_begins = True

    def feed(self, data: bytes) -> None:
        """Take what was typed."""
        self._take(self._decoder.decode(data))

    def end(self) -> None:
        """Nothing more is typed: what is there is a line."""
        self._take(self._decoder.decode(b"", final=True))
        if self._held:
            self._command(self._held)
        self._held = ""

    def _take(self, text: str) -> None:
        self._held += text
        while self._held:
            if self._line_begins and self._held.startswith(MARK):
                if self._held.startswith(2 * MARK):
                    self._held = self._held.removeprefix(MARK)
                    self._line_begins = False
                    continue
                line, end, rest = self._held.partition("\n")
                if not end and len(self._held) <= LONGEST_COMMAND:
                    return
                self._command(line[:LONGEST_COMMAND])
                self._held = rest
                continue
            line, end, self._held = self._held.partition("\n")
            self._line_begins = bool(end)
            self._text(line + end)
