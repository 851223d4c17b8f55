# SPDX-License-Identifier: BSD-2-Clause
"""Tasks, events and time on cocotb, for code that must not know its simulator."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, cast

import cocotb
from cocotb.task import Task
from cocotb.triggers import Event, First, NullTrigger, Timer, Trigger
from cocotb.utils import get_sim_steps

from models import runtime as contract


class CocotbRuntime:
    """The :class:`models.runtime.Runtime` of drivers and transports in a simulation."""

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> Task[Any]:
        """Run ``coroutine`` beside the caller; the task has ``cancel()``."""
        return cocotb.start_soon(coroutine)

    def event(self) -> Event:
        """A new event: ``set()``, ``clear()``, ``is_set()`` and ``await wait()``."""
        return Event()

    async def wait(self, event: contract.Event, timeout_us: float | None = None) -> bool:
        """Wait until ``event`` is set or ``timeout_us`` microseconds of simulated time passed.

        Returns
        -------
        bool
            Whether the event came, even if another whom it woke has cleared it since. It is not
            cleared here.
        """
        if event.is_set():
            return True
        if timeout_us is None:
            await event.wait()
            return True
        steps = get_sim_steps(timeout_us, "us", round_mode="ceil")
        if steps <= 0:
            return False
        late = Timer(steps, "step")
        # The event is one of ours, and waiting for those is a trigger.
        came = await First(cast(Trigger, event.wait()), late) is not late
        return came or event.is_set()

    async def yield_now(self) -> None:
        """Let every other coroutine that is ready run; no time passes."""
        await NullTrigger()
