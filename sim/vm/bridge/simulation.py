# SPDX-License-Identifier: BSD-2-Clause
"""Runs a simulation while it has work, and lets the process sleep while it is idle.

Simulated time stops while the process waits for a file. Nothing in the gateware or the devices
depends on time alone, so only idle cycles are skipped.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable

from .files import BlockingReadiness

POLL_CYCLES = 4
"""Default number of cycles between two polls of the files: the delay of a request."""
IDLE_CYCLES = 128
"""Cycles without activity at the ports after which the design is idle: many times the latency
between any two ports (docs/figures.md: doorbell to MSI-X in about 15)."""


class SimulationReadiness(BlockingReadiness):
    """Waits for files while the simulation runs; sleeps when the simulation is idle.

    Parameters
    ----------
    run_cycles
        Runs the simulation for a number of clock cycles.
    busy
        Returns whether requests are in flight, all of which complete.
    activity
        Returns a value that changes with any activity at the design's ports.
    poll_cycles
        Cycles between two polls of the files.
    """

    def __init__(
        self,
        run_cycles: Callable[[int], Awaitable[object]],
        *,
        busy: Callable[[], bool],
        activity: Callable[[], Hashable],
        poll_cycles: int = POLL_CYCLES,
    ) -> None:
        super().__init__()
        self._run_cycles = run_cycles
        self._poll_cycles = poll_cycles
        self._busy = busy
        self._activity = activity
        self._last_activity = activity()
        self._idle_cycles = 0

    def watch(self, file: int, listener: Callable[[], None]) -> None:
        """As :meth:`Readiness.watch`."""

        def wake() -> None:
            self._idle_cycles = 0
            listener()

        super().watch(file, wake)

    async def settle(self) -> None:
        """Run until the design is idle; listeners are called meanwhile."""
        self._idle_cycles = 0
        while not self._is_idle():
            self.poll_listeners()
            await self._run()

    async def _wait(self, file: int, events: int) -> None:
        while True:
            is_idle = self._is_idle()
            if self.poll(file, events, None if is_idle else 0):
                break
            if not is_idle:
                await self._run()
        # The caller's next accesses may have effects that appear only after some cycles.
        self._idle_cycles = 0

    async def _run(self) -> None:
        self._idle_cycles += self._poll_cycles
        await self._run_cycles(self._poll_cycles)

    def _is_idle(self) -> bool:
        activity = self._activity()
        if activity != self._last_activity or self._busy():
            self._last_activity = activity
            self._idle_cycles = 0
        return self._idle_cycles >= IDLE_CYCLES
