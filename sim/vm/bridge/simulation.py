# SPDX-License-Identifier: BSD-2-Clause
"""Runs a simulation as far as there is work, and lets the process sleep when there is none.

Simulated time stands still while the process waits for a file: nothing in the gateware or in the
devices depends on time alone, so what would pass is idle cycles.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

from cocotb.triggers import Timer

from .files import BlockingReadiness

CHUNK_CYCLES = 4
"""Cycles between two looks at the files: how late a request may be seen."""
QUIET_CYCLES = 128
"""Cycles without a sign of life after which nothing comes by itself: many times what anything
between the ports takes (docs/figures.md has doorbell to MSI-X in some 15)."""


class SimulationReadiness(BlockingReadiness):
    """Waits for files while the simulation runs; sleeps when that has nothing to do.

    Parameters
    ----------
    clock_period_ns
        Of the simulated clock.
    busy
        Whether something is under way that will surely end.
    signs
        Something that changes with whatever happens at the design's ports.
    """

    def __init__(
        self, *, clock_period_ns: float, busy: Callable[[], bool], signs: Callable[[], Hashable]
    ) -> None:
        super().__init__()
        self._chunk_ns = CHUNK_CYCLES * clock_period_ns
        self._busy = busy
        self._signs = signs
        self._last = signs()
        self._quiet_cycles = 0

    def watch(self, file: int, listener: Callable[[], None]) -> None:
        """As :meth:`Readiness.watch`."""

        def stir() -> None:
            self._quiet_cycles = 0
            listener()

        super().watch(file, stir)

    async def settle(self) -> None:
        """Run until there is nothing to do; listeners are called meanwhile."""
        self._quiet_cycles = 0
        while not self._quiet():
            self.glance()
            await self._run()

    async def _wait(self, file: int, events: int) -> None:
        while True:
            quiet = self._quiet()
            if self.look(file, events, None if quiet else 0):
                break
            if not quiet:
                await self._run()
        # What is done now may have effects that show nowhere before the simulation has run.
        self._quiet_cycles = 0

    async def _run(self) -> None:
        self._quiet_cycles += CHUNK_CYCLES
        await Timer(self._chunk_ns, "ns")

    def _quiet(self) -> bool:
        signs = self._signs()
        if signs != self._last or self._busy():
            self._last = signs
            self._quiet_cycles = 0
        return self._quiet_cycles >= QUIET_CYCLES
