# SPDX-License-Identifier: BSD-2-Clause
"""The bytes that a guest prints on a console, as lines of text.

They come in pieces of any size, 16 bytes each from Linux' hvc, cut within lines and characters. A
line is passed on when its end comes; what has no end, a prompt, when no more of it comes for
:data:`PATIENCE_S`.
"""

from __future__ import annotations

import codecs
import time
from collections.abc import Callable

PATIENCE_S = 0.2
"""How long the beginning of a line waits for another piece."""
LONGEST_WAIT_S = 1.0
"""How long it waits for its end while pieces come: dots of a progress bar are seen as they come."""
LONGEST_LINE = 4096
"""Characters that wait for the end of their line."""


class ConsoleText:
    """Decodes UTF-8 and joins lines; call it with each piece of a console's output.

    Parameters
    ----------
    show
        Called with each line: with its line end, or without one if it waited too long for that.
    now
        The time in seconds.

    Attributes
    ----------
    remind
        How to be called later, as :meth:`~sim.vm.bridge.files.Readiness.remind`: the beginning of a
        line is shown in time where nothing else happens.
    """

    def __init__(
        self, show: Callable[[str], None], *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.remind: Callable[[float, Callable[[], None]], None] = lambda delay_s, listener: None
        self._show = show
        self._now = now
        # What is no UTF-8 becomes U+FFFD, but not before it is known to be none.
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._unfinished = ""
        self._began = 0.0
        self._last = 0.0
        self._reminder_set = False

    def __call__(self, data: bytes) -> None:
        """Take a piece of output."""
        self.show_due()
        self._add(self._decoder.decode(data))

    def due_in(self) -> float | None:
        """Seconds until the beginning of a line is due; ``None`` where there is none."""
        if not self._unfinished:
            return None
        due = min(self._last + PATIENCE_S, self._began + LONGEST_WAIT_S)
        return max(0.0, due - self._now())

    def show_due(self) -> None:
        """Show the beginning of a line that has waited long enough."""
        if self.due_in() == 0:
            self._flush()

    def end(self) -> None:
        """Nothing more comes of this guest: show what is there, half a character included."""
        self._add(self._decoder.decode(b"", final=True))
        self._decoder.reset()
        self._flush()

    def _add(self, text: str) -> None:
        if not text:
            return
        self._last = self._now()
        *lines, rest = text.split("\n")
        for line in lines:
            self._unfinished += line + "\n"
            self._flush()
        began = not self._unfinished
        self._unfinished += rest
        while len(self._unfinished) > LONGEST_LINE:
            self._show(self._unfinished[:LONGEST_LINE])
            self._unfinished = self._unfinished[LONGEST_LINE:]
            began = True
        if began and self._unfinished:
            self._began = self._last
            self._set_reminder()

    def _set_reminder(self) -> None:
        # One at a time, however many lines begin until it comes.
        due = self.due_in()
        if due is not None and not self._reminder_set:
            self._reminder_set = True
            self.remind(due, self._reminded)

    def _reminded(self) -> None:
        self._reminder_set = False
        self.show_due()
        self._set_reminder()

    def _flush(self) -> None:
        if self._unfinished:
            text, self._unfinished = self._unfinished, ""
            self._show(text)
