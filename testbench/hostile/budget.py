# SPDX-License-Identifier: BSD-2-Clause
"""Limits on the number and time of histories, and the shortest history that failed."""

from __future__ import annotations

import time
from collections.abc import Sequence

from .errors import HostileFailure


class OutOfTime(KeyboardInterrupt):
    """The budget is used up. Hypothesis stops at once only for an interrupt."""


class Budget:
    """Budget of histories in wall time and in number.

    Parameters
    ----------
    seconds
        Wall time of all histories; ``None`` for no limit.
    shrink
        Wall time, after the first failure, to find a shorter history that fails; ``None`` for no
        limit.
    histories, shrink_histories
        Number of histories before and after the first failure, for results that do not depend on
        the machine's speed; ``None`` for no limit.

    Attributes
    ----------
    failure
        Failure of the shortest history that failed; ``None`` without a failure.
    program
        Steps of that history.
    lost
        Messages known to be lost in that history.
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
        self._remaining = histories
        self._shrink_histories = shrink_histories
        self._ends = None if seconds is None else self._began + seconds
        self.failure: str | None = None
        self.program: list[str] = []
        self.lost = 0

    @property
    def elapsed(self) -> float:
        """Wall time so far in seconds."""
        return time.monotonic() - self._began

    def check(self) -> None:
        """Count the start of a history; raise :class:`OutOfTime` if the budget is used up."""
        if self._ends is not None and time.monotonic() >= self._ends:
            raise OutOfTime
        if self._remaining is not None:
            if self._remaining <= 0:
                raise OutOfTime
            self._remaining -= 1

    def failed(self, error: BaseException, program: Sequence[str]) -> None:
        """Record a failed history; the first one starts the budget for shorter ones."""
        if self.failure is None:
            self._ends = None if self._shrink is None else time.monotonic() + self._shrink
            self._remaining = self._shrink_histories
        elif len(program) > len(self.program):
            return
        self.failure = f"{type(error).__name__}: {error}"
        self.program = list(program)
        self.lost = error.lost if isinstance(error, HostileFailure) else 0
