# SPDX-License-Identifier: BSD-2-Clause
"""Increments of the device side's event counters."""

from __future__ import annotations

from typing import Any

from models.counters import COUNTERS


class CounterReader:
    """Reads the counters of a design.

    Parameters
    ----------
    dut
        The design's top, out of reset: the counters must be defined.
    """

    def __init__(self, dut: Any) -> None:
        self._ports = {counter.name: getattr(dut, counter.port) for counter in COUNTERS}
        self._before = self._values()

    def increments(self) -> dict[str, int]:
        """Increments since the last call by counter name, modulo the counter's width.

        Counters that did not change are left out.
        """
        before, self._before = self._before, self._values()
        steps = {
            counter.name: (self._before[counter.name] - before[counter.name]) % (1 << counter.bits)
            for counter in COUNTERS
        }
        return {name: count for name, count in steps.items() if count}

    def _values(self) -> dict[str, int]:
        return {name: int(port.value) for name, port in self._ports.items()}
