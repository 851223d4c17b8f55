# SPDX-License-Identifier: BSD-2-Clause
"""Tasks, events and time on cocotb, for simulator-independent code."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Protocol, cast

import cocotb
from cocotb.task import Task
from cocotb.triggers import Event, First, NullTrigger, Timer, Trigger
from cocotb.utils import get_sim_steps, get_sim_time

from models import runtime as contract


class TimedRuntime(contract.Runtime, Protocol):
    """A runtime that knows the simulated time."""

    @property
    def now_ns(self) -> float:
        """Simulated time, in nanoseconds."""


class CocotbRuntime:
    """Implements :class:`TimedRuntime` for hosts, drivers and transports in a simulation."""

    @property
    def now_ns(self) -> float:
        """As :attr:`TimedRuntime.now_ns`."""
        return float(get_sim_time("ns"))

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> Task[Any]:
        """Run ``coroutine`` concurrently; the task has ``cancel()``."""
        return cocotb.start_soon(coroutine)

    def event(self) -> Event:
        """A new event: ``set()``, ``clear()``, ``is_set()`` and ``await wait()``."""
        return Event()

    async def wait(self, event: contract.Event, timeout_us: float | None = None) -> bool:
        """Wait until ``event`` is set or ``timeout_us`` microseconds of simulated time have passed.

        Returns
        -------
        bool
            Whether the event was set, even if another waiter has cleared it since. This method does
            not clear it.
        """
        if event.is_set():
            return True
        if timeout_us is None:
            await event.wait()
            return True
        steps = get_sim_steps(timeout_us, "us", round_mode="ceil")
        if steps <= 0:
            return False
        timer = Timer(steps, "step")
        # `event` is from `self.event`, so `event.wait()` is a cocotb trigger.
        fired = await First(cast(Trigger, event.wait()), timer) is not timer
        return fired or event.is_set()

    async def yield_now(self) -> None:
        """Let all other ready coroutines run; simulated time does not advance."""
        await NullTrigger()
