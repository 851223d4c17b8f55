# SPDX-License-Identifier: BSD-2-Clause
"""Joins the bytes that a guest prints on a console into lines of text.

Output arrives in pieces of any size, 16 bytes each from Linux' hvc, split within lines and
characters. A line is shown when its line end arrives. Text without a line end, such as a prompt, is
shown when no more of it arrives for :data:`PATIENCE_S`.
"""

from __future__ import annotations

import codecs
import time
from collections.abc import Callable

from ..bridge.files import CallLater

PATIENCE_S = 0.2
"""Time that an unfinished line waits for another piece."""
LONGEST_WAIT_S = 1.0
"""Time that it waits for its end while pieces arrive, so that a progress bar's dots appear."""
LONGEST_LINE = 4096
"""Characters of the longest unfinished line."""


class ConsoleText:
    """Decodes UTF-8 and joins lines; call it with each piece of a console's output.

    Parameters
    ----------
    show
        Called with each line, with its line end unless it waited too long for one.
    now
        Returns the time in seconds.

    Attributes
    ----------
    call_later
        Schedules a call, as :meth:`~sim.vm.bridge.files.Readiness.call_later`, so that an
        unfinished line is shown in time when no other output arrives.
    """

    def __init__(
        self, show: Callable[[str], None], *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.call_later: CallLater = lambda delay_s, listener: None
        self._show = show
        self._now = now
        # Invalid UTF-8 becomes U+FFFD; an incomplete character waits for its remaining bytes.
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._unfinished = ""
        self._start_time = 0.0
        self._last_time = 0.0
        self._timer_set = False

    def __call__(self, data: bytes) -> None:
        """Process a piece of output."""
        self.show_due()
        self._add(self._decoder.decode(data))

    def due_in(self) -> float | None:
        """Seconds until an unfinished line must be shown; ``None`` without one."""
        if not self._unfinished:
            return None
        due = min(self._last_time + PATIENCE_S, self._start_time + LONGEST_WAIT_S)
        return max(0.0, due - self._now())

    def show_due(self) -> None:
        """Show an unfinished line whose time is over."""
        if self.due_in() == 0:
            self._flush()

    def end(self) -> None:
        """End of a guest's output: show the unfinished line, an incomplete character included."""
        self._add(self._decoder.decode(b"", final=True))
        self._decoder.reset()
        self._flush()

    def _add(self, text: str) -> None:
        if not text:
            return
        self._last_time = self._now()
        *lines, unfinished = text.split("\n")
        for line in lines:
            self._unfinished += line + "\n"
            self._flush()
        is_new = not self._unfinished
        self._unfinished += unfinished
        while len(self._unfinished) > LONGEST_LINE:
            self._show(self._unfinished[:LONGEST_LINE])
            self._unfinished = self._unfinished[LONGEST_LINE:]
            is_new = True
        if is_new and self._unfinished:
            self._start_time = self._last_time
            self._set_timer()

    def _set_timer(self) -> None:
        # At most one reminder is pending, however many lines begin.
        due = self.due_in()
        if due is not None and not self._timer_set:
            self._timer_set = True
            self.call_later(due, self._on_timer)

    def _on_timer(self) -> None:
        self._timer_set = False
        self.show_due()
        self._set_timer()

    def _flush(self) -> None:
        if self._unfinished:
            text, self._unfinished = self._unfinished, ""
            self._show(text)
