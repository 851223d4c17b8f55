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

    def __init__(self, bench):
        super().__init__(bench)
        self._messages_received = 0
        self._report = bench.queues.sink.on_packet
        bench.queues.sink.on_packet = self._report_two_of_three

    async def begin(self):
        self._messages_received = 0
        await super().begin()

    def _report_two_of_three(self, message):
        self._messages_received += 1
        if self._messages_received % 3:
            self._report(message)


BENCH = os.environ["FUZZ_BENCH"]


@cocotb.test(timeout_time=1000, timeout_unit="sec")
async def misbehaves(dut):
    """Loses messages, hangs or dies, as the environment selects."""
    if BENCH == "forgetful":
        await fuzz(await Forgetful.open(dut))
    (Path(os.environ[FOLDER]) / TRAIL).write_text("await hostile.begin()\n")
    if BENCH == "hangs":
        time.sleep(1000)
    os._exit(3)
