# SPDX-License-Identifier: BSD-2-Clause
"""asyncio with a clock that does not depend on the machine: it moves when nothing else can.

On the wall clock a timeout of the pure model says how fast the machine is, and strikes when that is
busy with something else. In :func:`run` time stands still while any coroutine can run, and jumps to
the next deadline when none can: timeouts come in their order, only when what they wait for cannot
come any more, and cost no time.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class _JumpingSelector(selectors.DefaultSelector):
    """Never waits for a deadline: counts the time that it would have waited."""

    def __init__(self) -> None:
        super().__init__()
        self.skipped_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            return super().select(None)
        ready = super().select(0)
        if not ready:
            self.skipped_s += max(timeout, 0.0)
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose :meth:`time` is that of the coroutines alone, in seconds from 0."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Seconds that the coroutines have waited for since the loop was made."""
        return self._jumping.skipped_s


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """As ``asyncio.run``, in a :class:`VirtualTimeLoop`."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)
