# SPDX-License-Identifier: BSD-2-Clause
"""``python -m sim demo``: build, run the scenario, print its events, write the report."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from ... import toolchain
from ...build import BUILD_ROOT, BuildConfiguration, build
from ...command import ReportFolder, print_failure
from ...console import building
from ...run import Outcome, SimulationError, simulate
from .reporter import Reporter, follow
from .scenario import EVENTS, REVISION, TRACE_JSON, TRACE_TEXT

SCENARIO = "sim.lab.demo.scenario"


def run_demo(
    configuration: BuildConfiguration, *, revision: str = "v1", seed: int | None = None
) -> int:
    """Run the demo in wire revision ``revision``; ``demo/report.json`` below the build root.

    Returns
    -------
    int
        Exit status: 0 if the scenario passed.
    """
    console = Console(highlight=False)
    reporter = Reporter(console)
    started = time.monotonic()
    simulator = toolchain.find(configuration.simulator).name
    output = ReportFolder(BUILD_ROOT / "demo")
    folder = output.path

    reporter.opening(simulator, configuration.num_fifos, configuration.data_width)
    with building(console):
        build(configuration)
    outcome, failure = _run_and_print(configuration, revision, folder, reporter, seed)

    report: dict[str, Any] = {
        "ok": failure is None and reporter.figures is not None,
        "simulator": simulator,
        **(reporter.figures or {}),
        "wall_s": round(time.monotonic() - started, 3),
    }
    if outcome is not None:
        report["seed"] = outcome.seed
    status = output.write(report)
    if status:
        print_failure(console, "The demo failed.", failure or "It has no figures.")
        return status
    files = {
        "waves": outcome.waves if outcome else None,
        "message trace": folder / TRACE_TEXT,
        "the same, JSON": folder / TRACE_JSON,
        "report": output.report,
    }
    reporter.closing(report, files)
    return status


def _run_and_print(
    configuration: BuildConfiguration,
    revision: str,
    folder: Path,
    reporter: Reporter,
    seed: int | None,
) -> tuple[Outcome | None, str | None]:
    """Run the simulation in another thread and print its events in this one."""
    events = folder / "events.jsonl"
    outcome: Outcome | None = None
    failure: str | None = None

    def run() -> None:
        nonlocal outcome, failure
        try:
            outcome = simulate(
                configuration,
                SCENARIO,
                folder,
                seed=seed,
                environment={EVENTS: str(events), REVISION: revision},
            )
        except SimulationError as error:
            failure = str(error)

    thread = threading.Thread(target=run)
    thread.start()
    for event in follow(events, thread.is_alive):
        reporter.print_event(event)
    thread.join()
    return outcome, failure
