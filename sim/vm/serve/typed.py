# SPDX-License-Identifier: BSD-2-Clause
"""Input typed at the server: text for the consoles, and command lines."""

from __future__ import annotations

import codecs
from collections.abc import Callable

from .commands import MARK

LONGEST_COMMAND = 4096
"""Characters of a command."""


class TypedText:
    """Separates text from commands in terminal input; :meth:`feed` takes the input.

    A line that begins with ``!`` is a command. A line that begins with ``!!`` is text, without the
    first ``!``. All other text is passed on as it arrives, complete lines or not.

    Parameters
    ----------
    text
        Called with text for the consoles.
    command
        Called with each command line, without its line end.
    """

    def __init__(self, text: Callable[[str], None], command: Callable[[str], None]) -> None:
        self._text = text
        self._command = command
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""
        self._line_begins = True

    def feed(self, data: bytes) -> None:
        """Process typed bytes."""
        self._take(self._decoder.decode(data))

    def end(self) -> None:
        """End of input: an unfinished command line is complete."""
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
