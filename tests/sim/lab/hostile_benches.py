# SPDX-License-Identifier: BSD-2-Clause
"""Simulations of hostile histories that ``make fuzz`` must report as failed."""

import os
import time
from pathlib import Path

import cocotb

from testbench.hostile.actions import Hostile
from testbench.hostile.fuzz import FOLDER, TRAIL, fuzz


class Forgetful(Hostile):
    """A bench that loses every third message that leaves the design."""

    seen = 0

    async def begin(self):
        self.seen = 0
        await super().begin()

    def _came_out(self, message):
        self.seen += 1
        if self.seen % 3:
            super()._came_out(message)


BENCH = os.environ["FUZZ_BENCH"]


@cocotb.test(timeout_time=1000, timeout_unit="sec")
async def misbehaves(dut):
    """Loses messages, hangs or dies, as the environment selects."""
    if BENCH == "forgetful":
        await fuzz(Forgetful(dut))
    (Path(os.environ[FOLDER]) / TRAIL).write_text("await hostile.begin()\n")
    if BENCH == "hangs":
        time.sleep(1000)
    os._exit(3)
