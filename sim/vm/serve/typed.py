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
        self._pending = ""
        self._at_line_start = True

    def feed(self, data: bytes) -> None:
        """Process typed bytes."""
        self._process(self._decoder.decode(data))

    def end(self) -> None:
        """End of input: an unfinished command line is complete."""
        self._process(self._decoder.decode(b"", final=True))
        if self._pending:
            self._command(self._pending)
        self._pending = ""

    def _process(self, text: str) -> None:
        self._pending += text
        while self._pending:
            if self._at_line_start and self._pending.startswith(MARK):
                if self._pending.startswith(2 * MARK):
                    self._pending = self._pending.removeprefix(MARK)
                    self._at_line_start = False
                    continue
                line, end, rest = self._pending.partition("\n")
                if not end and len(self._pending) <= LONGEST_COMMAND:
                    return
                self._command(line[:LONGEST_COMMAND])
                self._pending = rest
                continue
            line, end, self._pending = self._pending.partition("\n")
            self._at_line_start = bool(end)
            self._text(line + end)
