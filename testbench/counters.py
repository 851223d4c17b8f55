# SPDX-License-Identifier: BSD-2-Clause
"""The device side's event counters as numbers: what each counted since one last looked."""

from __future__ import annotations

from typing import Any

from models.counters import COUNTERS


class CounterReader:
    """Reads the counters of a design.

    Parameters
    ----------
    dut
        The design's top. It is out of reset, so that the counters are defined.
    """

    def __init__(self, dut: Any) -> None:
        self._ports = {counter.name: getattr(dut, counter.port) for counter in COUNTERS}
        self._before = self._values()

    def steps(self) -> dict[str, int]:
        """How often each event came since the last call, by name; modulo the counter's width.

        Events that did not come are left out.
        """
        before, self._before = self._before, self._values()
        steps = {
            counter.name: (self._before[counter.name] - before[counter.name]) % (1 << counter.bits)
            for counter in COUNTERS
        }
        return {name: count for name, count in steps.items() if count}

    def _values(self) -> dict[str, int]:
        return {name: int(port.value) for name, port in self._ports.items()}
