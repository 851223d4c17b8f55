# SPDX-License-Identifier: BSD-2-Clause
"""The cocotb test that runs histories and writes the results to a file.

Environment variables set the limits: ``FUZZ_SECONDS`` of wall time, and ``FUZZ_SHRINK_SECONDS``
more after a failure; or the numbers of histories ``FUZZ_HISTORIES`` and ``FUZZ_SHRINK_HISTORIES``.
``FUZZ_FOLDER`` is the folder of the files.
"""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import cocotb
import cocotb.task

from .actions import Hostile
from .budget import Budget, OutOfTime
from .machine import run_histories

SECONDS, SHRINK_SECONDS, FOLDER = "FUZZ_SECONDS", "FUZZ_SHRINK_SECONDS", "FUZZ_FOLDER"
HISTORIES, SHRINK_HISTORIES = "FUZZ_HISTORIES", "FUZZ_SHRINK_HISTORIES"
FIGURES, TRAIL = "figures.json", "trail.txt"
"""Files: the current figures, and the steps of the current history."""
BATCH = 25
"""Number of histories between two checks of the whole RAM."""


def figures(hostile: Hostile, budget: Budget, *, done: bool) -> dict[str, Any]:
    """Figures of a run so far; ``done`` marks the final ones."""
    tally = hostile.bench.tally
    return {
        "done": done,
        "examples": hostile.histories,
        "steps": hostile.steps,
        "faults": dict(sorted(hostile.faults.items())),
        "messages_to_device": tally.to_device,
        "messages_to_driver": tally.to_driver,
        "messages_lost": budget.lost,
        "interrupts": tally.interrupts,
        "cycles": hostile.bench.queues.cycles,
        "wall_s": round(budget.elapsed, 3),
        "failure": budget.failure,
        "program": budget.program,
    }


def _write(path: Path, content: dict[str, Any]) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content))
    partial.rename(path)


def _budget() -> Budget:
    """The budget from the environment: numbers of histories take precedence over wall time."""
    if HISTORIES in os.environ:
        before, after = (int(os.environ[name]) for name in (HISTORIES, SHRINK_HISTORIES))
        return Budget(shrink=None, histories=before, shrink_histories=after)
    seconds, shrink = (float(os.environ[name]) for name in (SECONDS, SHRINK_SECONDS))
    return Budget(seconds, shrink=shrink)


async def fuzz(hostile: Hostile) -> None:
    """Run histories within the limits of the environment, and write the files.

    Raises
    ------
    AssertionError
        A history failed.
    """
    folder = Path(os.environ[FOLDER])
    seed = int(os.environ["COCOTB_RANDOM_SEED"])
    budget = _budget()
    run = cocotb.task.bridge(run_histories)
    with open(folder / TRAIL, "w") as trail:
        hostile.trail = trail
        try:
            for number in range(2**63):
                batch = random.Random(f"{seed} {number}").getrandbits(64)
                await run(hostile, budget, seed=batch, histories=BATCH)
                await hostile.bench.quiescer.check_ram()
                _write(folder / FIGURES, figures(hostile, budget, done=False))
        except OutOfTime:
            if budget.failure is None:
                await hostile.bench.quiescer.check_ram()
        except BaseException as error:
            if budget.failure is None:
                budget.failed(error, hostile.program)
    _write(folder / FIGURES, figures(hostile, budget, done=True))
    assert budget.failure is None, budget.failure


@cocotb.test(timeout_time=1000, timeout_unit="sec")
async def hostile_histories(dut: Any) -> None:
    """After any history, no message is lost, no other memory is changed, and the endpoint works."""
    await fuzz(await Hostile.open(dut))
