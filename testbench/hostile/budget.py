# SPDX-License-Identifier: BSD-2-Clause
"""How long histories go on, and what is known of one that failed."""

from __future__ import annotations

import time
from collections.abc import Sequence

from .errors import HostileFailure


class OutOfTime(KeyboardInterrupt):
    """No history may begin any more. An interrupt is all that Hypothesis stops at, at once."""


class Budget:
    """Decides whether another history may begin.

    Parameters
    ----------
    seconds
        Wall time for all of them; ``None`` for as long as it takes.
    shrink
        Wall time, after the first failure, to look for a shorter history that fails; ``None`` for
        as long as it takes.
    histories, shrink_histories
        Histories before the first failure and after it, where the outcome must not depend on the
        machine's speed; ``None`` for any number.

    Attributes
    ----------
    failure
        What went wrong in the shortest history that failed; ``None`` if none did.
    program
        The steps of that one.
    lost
        Messages that it is known to have lost.
    """

    def __init__(
        self,
        seconds: float | None = None,
        *,
        shrink: float | None = 30.0,
        histories: int | None = None,
        shrink_histories: int | None = None,
    ) -> None:
        self._began = time.monotonic()
        self._shrink = shrink
        self._left = histories
        self._shrink_histories = shrink_histories
        self._ends = None if seconds is None else self._began + seconds
        self.failure: str | None = None
        self.program: list[str] = []
        self.lost = 0

    @property
    def elapsed(self) -> float:
        """Seconds of wall time."""
        return time.monotonic() - self._began

    def check(self) -> None:
        """Count a history that begins, or raise :class:`OutOfTime` if none may any more."""
        if self._ends is not None and time.monotonic() >= self._ends:
            raise OutOfTime
        if self._left is not None:
            if self._left <= 0:
                raise OutOfTime
            self._left -= 1

    def failed(self, error: BaseException, program: Sequence[str]) -> None:
        """A history failed; there is some time for shorter ones."""
        if self.failure is None:
            self._ends = None if self._shrink is None else time.monotonic() + self._shrink
            self._left = self._shrink_histories
        elif len(program) > len(self.program):
            return
        self.failure = f"{type(error).__name__}: {error}"
        self.program = list(program)
        self.lost = error.lost if isinstance(error, HostileFailure) else 0
