# SPDX-License-Identifier: BSD-2-Clause
"""The cocotb test that lets histories run, and says what came of it in a file.

The environment says how long: ``FUZZ_HISTORIES`` in all, or ``FUZZ_SECONDS`` of wall time.
``FUZZ_FIGURES`` is where the figures go, as JSON; it is rewritten as they change.
"""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path
from typing import Any

import cocotb
import cocotb.task

from ..axi_dma import AxiDma
from .actions import Hostile
from .machine import run_histories

SECONDS, HISTORIES, FIGURES = "FUZZ_SECONDS", "FUZZ_HISTORIES", "FUZZ_FIGURES"
BATCH = 25
"""Histories after which the whole RAM is read back."""


def figures(hostile: Hostile, began: float) -> dict[str, Any]:
    """What a run did up to now; see :mod:`sim.fuzz` for the names."""
    tally = hostile.tally
    return {
        "examples": hostile.histories,
        "steps": hostile.steps,
        "faults": dict(sorted(hostile.faults.items())),
        "messages_to_device": tally.to_device,
        "messages_to_driver": tally.to_driver,
        "messages_lost": tally.lost,
        "interrupts": tally.interrupts,
        "cycles": hostile.cycles,
        "wall_s": round(time.monotonic() - began, 3),
    }


class Recorder:
    """Keeps the file of figures up to date.

    Parameters
    ----------
    path
        The file; ``None`` for none.
    hostile
        What the figures are of.
    """

    def __init__(self, path: Path | None, hostile: Hostile) -> None:
        self._path = path
        self._hostile = hostile
        self._began = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds of wall time."""
        return time.monotonic() - self._began

    def write(self, failure: BaseException | None = None, *, done: bool = False) -> None:
        """Write what is known now; ``done`` once all histories have run."""
        if self._path is None:
            return
        content = {"done": done, **figures(self._hostile, self._began)}
        if failure is not None:
            content["failure"] = f"{type(failure).__name__}: {failure}"
            content["program"] = list(self._hostile.program)
        partial = self._path.with_suffix(".partial")
        partial.write_text(json.dumps(content))
        partial.rename(self._path)


def _batches(recorder: Recorder) -> Any:
    """Sizes of the batches to run."""
    seconds = float(os.environ.get(SECONDS, "0"))
    histories = int(os.environ.get(HISTORIES, "0"))
    while histories > 0 or recorder.elapsed < seconds:
        yield min(BATCH, histories) if histories > 0 else BATCH
        histories -= BATCH


@cocotb.test(timeout_time=10, timeout_unit="sec")
async def hostile_histories(dut: Any) -> None:
    """After whatever two hostile ends do, nothing is lost, nothing is touched, and all works."""
    hostile = Hostile(dut)
    path = os.environ.get(FIGURES)
    recorder = Recorder(Path(path) if path else None, hostile)
    await hostile.open()
    dma = AxiDma(dut)
    seed = int(os.environ["COCOTB_RANDOM_SEED"])
    run = cocotb.task.bridge(run_histories)
    try:
        for number, count in enumerate(_batches(recorder)):
            batch = random.Random(f"{seed} {number}").getrandbits(64)
            await run(hostile, dma, seed=batch, histories=count)
            await hostile.sweep()
            recorder.write()
    except BaseException as failure:
        recorder.write(failure)
        program = "\n".join(f"await hostile.{step}" for step in hostile.program)
        cocotb.log.error("seed %d, batch %d, shrunk to:\n%s", seed, number, program)
        raise
    recorder.write(done=True)
    cocotb.log.info("%s", json.dumps(figures(hostile, 0.0)))
