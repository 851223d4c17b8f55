# SPDX-License-Identifier: BSD-2-Clause
"""Failures of a history, and waiting with a time limit."""

from __future__ import annotations

from collections.abc import Callable

from ..queue_bench import QueueBench
from ..timing import CLOCK_PERIOD_NS
from .errors import HostileFailure
from .oracle import Oracle

MAX_CYCLES = 200_000
"""Limit in cycles for all work that a history can leave pending; far longer than it takes."""


class Checker:
    """Raises the failures of the current history.

    Parameters
    ----------
    bench
        The bench; its monitor must not be ``fatal``.
    oracle
        Checks the events.

    Attributes
    ----------
    failures
        Failures found outside the oracle and the monitor.
    """

    def __init__(self, bench: QueueBench, oracle: Oracle) -> None:
        self._bench = bench
        self._oracle = oracle
        self.failures: list[str] = []

    def clear(self) -> None:
        """Discard all failures."""
        self._bench.monitor.violations.clear()
        self.failures.clear()

    def check(self) -> None:
        """Check all events before the current cycle.

        Raises
        ------
        HostileFailure
            A check failed.
        """
        self._oracle.handle_events(self._bench.time_ns - 1.5 * CLOCK_PERIOD_NS)
        self.raise_failure()

    def raise_failure(self) -> None:
        """Raise the violations of the protocol, or the first failure, if there is any.

        Raises
        ------
        HostileFailure
            There is one.
        """
        violations = self._bench.monitor.violations
        if violations:
            raise HostileFailure("; ".join(str(violation) for violation in violations))
        if self.failures:
            raise HostileFailure(self.failures[0])

    async def wait_until(self, done: Callable[[], bool], problem: str, step: int = 20) -> None:
        """Wait until ``done()``, polling every ``step`` cycles.

        Raises
        ------
        HostileFailure
            A check failed, or ``done()`` is still false after :data:`MAX_CYCLES`; ``problem`` is
            the text.
        """
        for _ in range(0, MAX_CYCLES, step):
            if done():
                return
            await self._bench.settle(step)
            self.check()
        raise HostileFailure(f"{problem} after {MAX_CYCLES} cycles")
