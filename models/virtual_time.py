# SPDX-License-Identifier: BSD-2-Clause
"""asyncio on virtual time.

On the wall clock, a timeout in the pure model depends on the speed and load of the machine. In
:func:`run`, time stands still while any coroutine can run and jumps to the next deadline when none
can. Timeouts therefore expire in order, only when the awaited event can no longer occur, and take
no wall-clock time.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class _JumpingSelector(selectors.DefaultSelector):
    """Selector that adds up the time until each deadline instead of waiting for it."""

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
    """Event loop whose :meth:`time` is virtual, in seconds from 0."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Virtual seconds since the loop was created: the sum of all jumps."""
        return self._jumping.skipped_s


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Run ``main`` as ``asyncio.run`` does, in a :class:`VirtualTimeLoop`."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)
