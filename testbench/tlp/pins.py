# SPDX-License-Identifier: BSD-2-Clause
"""Settings of a design behind a hard block, sampled from its configuration pins.

A change may take effect from its first cycle on. It is in effect from the cycle in which the design
asserts ``status_config_settled``; only then does a hard block complete the configuration write.
"""

from __future__ import annotations

from typing import Any

import cocotb
from cocotb.triggers import First

from models.config_space import SETTLING_CYCLES

from .codec import CplStatus
from .settings import Settings

PINS = ("max_payload_size", "max_read_request_size", "bus_master_enable")
SETTLED = "status_config_settled"


async def settled(dut: Any, *, clk: Any) -> None:
    """Wait until a change of pins in this cycle is in effect."""
    for _ in range(SETTLING_CYCLES + 1):
        await clk.rising_edge
    while getattr(dut, SETTLED).value != "1":
        await clk.rising_edge


class PinFollower:
    """Follows the pins; changes during ``reset`` are in effect at once.

    Parameters
    ----------
    dut
        The design's top, with ports :data:`PINS` and :data:`SETTLED`.
    settings
        The settings to update.
    clk, reset
        Handles.
    """

    def __init__(self, dut: Any, settings: Settings, *, clk: Any, reset: Any) -> None:
        self._dut = dut
        self._pins = {name: getattr(dut, name) for name in PINS}
        self._settings = settings
        self._clk = clk
        self._reset = reset
        self._changes = 0
        cocotb.start_soon(self._run())

    def apply(self) -> None:
        """Apply the current values of the pins at once, as after a reset."""
        self._settings.pins_changed(self._values(), PINS)
        self._settings.completed(PINS, CplStatus.SC)

    def _values(self) -> dict[str, int]:
        # Pins are undefined until they are driven.
        return {name: int(pin.value) for name, pin in self._pins.items() if pin.value.is_resolvable}

    async def _run(self) -> None:
        while True:
            await First(*(pin.value_change for pin in self._pins.values()))
            if self._reset.value != "0":
                self.apply()
                continue
            self._changes += 1
            self._settings.pins_changed(self._values(), self._changes)
            cocotb.start_soon(self._complete_when_settled(self._changes))

    async def _complete_when_settled(self, change: int) -> None:
        await settled(self._dut, clk=self._clk)
        self._settings.completed(change, CplStatus.SC)
