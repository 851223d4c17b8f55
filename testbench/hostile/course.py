# SPDX-License-Identifier: BSD-2-Clause
"""How long histories go on, and what is known of one that failed."""

from __future__ import annotations

import time
from collections.abc import Sequence

from .errors import HostileFailure


class OutOfTime(KeyboardInterrupt):
    """No history may begin any more. An interrupt is all that Hypothesis stops at, at once."""


class Course:
    """Decides whether another history may begin.

    Parameters
    ----------
    seconds
        Wall time for all of them; ``None`` for as long as it takes.
    shrink
        Wall time, after the first failure, to look for a shorter history that fails.

    Attributes
    ----------
    failure
        What went wrong in the shortest history that failed; ``None`` if none did.
    program
        The steps of that one.
    lost
        Messages that it is known to have lost.
    """

    def __init__(self, seconds: float | None = None, *, shrink: float = 30.0) -> None:
        self._began = time.monotonic()
        self._shrink = shrink
        self._ends = None if seconds is None else self._began + seconds
        self.failure: str | None = None
        self.program: list[str] = []
        self.lost = 0

    @property
    def elapsed(self) -> float:
        """Seconds of wall time."""
        return time.monotonic() - self._began

    def check(self) -> None:
        """Raise :class:`OutOfTime` if no history may begin any more."""
        if self._ends is not None and time.monotonic() >= self._ends:
            raise OutOfTime

    def failed(self, error: BaseException, program: Sequence[str]) -> None:
        """A history failed; there is some time for shorter ones."""
        if self.failure is None:
            self._ends = time.monotonic() + self._shrink
        elif len(program) > len(self.program):
            return
        self.failure = f"{type(error).__name__}: {error}"
        self.program = list(program)
        self.lost = error.lost if isinstance(error, HostileFailure) else 0
