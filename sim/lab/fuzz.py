# SPDX-License-Identifier: BSD-2-Clause
"""``python -m sim fuzz``: hostile histories on the gateware for a given time, and the report.

Each build runs in its own process, so that a simulator that hangs or crashes is reported as a
failure like any other, with the steps that led to it.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shlex
import signal
import time
from collections import Counter
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from testbench.hostile import fuzz as histories

from .. import toolchain
from ..build import BUILD_ROOT, BuildConfiguration, build
from ..command import ReportFolder, print_failure
from ..console import building
from ..run import SimulationError, new_seed, simulate

HISTORIES = "testbench.hostile.fuzz"
"""The cocotb module that runs the histories."""
SHRINK_SECONDS = 30.0
"""Wall time, after a failure, to search for a shorter history that fails."""
GRACE_SECONDS = 60.0
"""Wall time beyond its share in which a simulation must end its last history."""
START_SECONDS = 300.0
"""Wall time in which a simulation must begin its first history."""
POLL_SECONDS = 0.2
SUMS = (
    "examples",
    "steps",
    "messages_to_device",
    "messages_to_driver",
    "messages_lost",
    "interrupts",
    "cycles",
)
"""Figures of each run that the report also sums up."""


def configurations(simulator: str | None = None) -> list[BuildConfiguration]:
    """The default builds: both tops, narrow and wide."""
    return [
        BuildConfiguration(top=top, num_fifos=fifos, data_width=width, simulator=simulator)
        for top, fifos, width in (("endpoint", 2, 128), ("core", 1, 64), ("endpoint", 8, 512))
    ]


def run_fuzz(
    builds: Sequence[BuildConfiguration], *, seconds: float, seed: int | None = None
) -> int:
    """Divide ``seconds`` of wall time among ``builds``; ``fuzz/report.json`` below the build root.

    Stops at the first build that fails.

    Returns
    -------
    int
        Exit status: 0 if no build failed.

    Raises
    ------
    ValueError
        ``seconds`` is not above 0.
    sim.toolchain.NoSimulatorError, sim.build.BuildError
        A build cannot run or cannot be built.
    """
    if not seconds > 0:
        raise ValueError(f"seconds is {seconds}: must be above 0")
    console = Console(highlight=False)
    seed = new_seed() if seed is None else seed
    output = ReportFolder(BUILD_ROOT / "fuzz")
    simulator = toolchain.find(builds[0].simulator).name
    console.print(f"{simulator}, seed {seed}, {seconds:g} s")
    with building(console):
        for configuration in builds:
            build(configuration)

    runs: list[dict[str, Any]] = []
    deadline = time.monotonic() + seconds
    for number, configuration in enumerate(builds):
        share_s = max(1.0, (deadline - time.monotonic()) / (len(builds) - number))
        with console.status(f"{_name(configuration)}, {share_s:.0f} s ..."):
            runs.append(_run(configuration, output.path, share_s, seed))
        if not runs[-1]["ok"]:
            break
    report = _report(runs, seed, seconds)
    status = output.write(report)
    _print_report(console, report)
    output.print_report_path(console)
    return status


def _name(configuration: BuildConfiguration) -> str:
    simulator = toolchain.find(configuration.simulator).name
    fifos, width = configuration.num_fifos, configuration.data_width
    return f"{simulator}-{configuration.top}-f{fifos}-w{width}"


def _run(
    configuration: BuildConfiguration, root: Path, seconds: float, seed: int
) -> dict[str, Any]:
    folder = root / _name(configuration)
    folder.mkdir(parents=True)
    error = _simulate_in_process(configuration, folder, seconds, seed)
    try:
        figures = json.loads((folder / histories.FIGURES).read_text())
    except FileNotFoundError:
        figures = {"done": False, "faults": {}, "failure": None, **dict.fromkeys(SUMS, 0)}
    if not figures.pop("done"):
        # The simulation ended before it could write the program; the trail has its steps so far.
        trail = folder / histories.TRAIL
        figures["program"] = trail.read_text().splitlines() if trail.exists() else []
    if error is not None and figures["failure"] is None:
        figures["failure"] = error
    simulator = toolchain.find(configuration.simulator).name
    return {
        "ok": error is None,
        "top": configuration.top,
        "fifos": configuration.num_fifos,
        "data_width": configuration.data_width,
        "simulator": simulator,
        "log": str(folder / "sim.log"),
        **figures,
    }


def _simulate_in_process(
    configuration: BuildConfiguration, folder: Path, seconds: float, seed: int
) -> str | None:
    """Run the histories in another process; returns the error text, if any."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(
        target=_simulate,
        args=(sender, configuration, HISTORIES, folder, (seconds, SHRINK_SECONDS), seed),
    )
    process.start()
    sender.close()
    grace = SHRINK_SECONDS + GRACE_SECONDS
    try:
        if not _has_result_in_time(receiver, folder / histories.TRAIL, seconds + grace):
            return f"the simulation hangs: it did not end within {grace:g} s after its time"
        return str(receiver.recv()) or None
    except EOFError:
        process.join()
        return f"the simulation died with exit status {process.exitcode}"
    finally:
        if process.is_alive() and process.pid is not None:
            _kill_session(process.pid)
        process.join()


def _has_result_in_time(result: Connection, trail: Path, limit: float) -> bool:
    """Whether a result arrives within ``limit`` seconds of the first history.

    ``trail`` exists once the first history begins. The time that a simulator takes to start does
    not count: it does not show whether the simulator hangs.
    """
    deadline = time.monotonic() + START_SECONDS
    started = False
    while time.monotonic() < deadline:
        if not started and trail.exists():
            started, deadline = True, time.monotonic() + limit
        if result.poll(POLL_SECONDS):
            return True
    return False


def _kill_session(session: int) -> None:
    """Kill all processes of a session: the simulator is a child of the process started here."""
    try:
        os.killpg(session, signal.SIGKILL)
    except ProcessLookupError:
        return


def _simulate(
    result: Connection,
    configuration: BuildConfiguration,
    module: str,
    folder: Path,
    seconds: tuple[float, float],
    seed: int,
) -> None:
    os.setsid()
    environment = {
        histories.SECONDS: repr(seconds[0]),
        histories.SHRINK_SECONDS: repr(seconds[1]),
        histories.FOLDER: str(folder),
    }
    try:
        simulate(configuration, module, folder, seed=seed, environment=environment)
        result.send("")
    except SimulationError as error:
        result.send(str(error))


def _report(runs: list[dict[str, Any]], seed: int, seconds: float) -> dict[str, Any]:
    faults: Counter[str] = Counter()
    for run in runs:
        faults.update(run["faults"])
    return {
        "ok": all(run["ok"] for run in runs),
        "seed": seed,
        "seconds": seconds,
        **{name: sum(run[name] for run in runs) for name in SUMS},
        "faults_injected": faults.total(),
        "faults": dict(sorted(faults.items())),
        "runs": runs,
    }


def _repeat_command(run: dict[str, Any], seed: int, seconds: float) -> str:
    """The command that repeats a run, with twice the time for a busier machine."""
    options = {
        "seed": seed,
        "seconds": round(2 * seconds),
        "top": run["top"],
        "fifos": run["fifos"],
        "data-width": run["data_width"],
        "sim": run["simulator"],
    }
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return shlex.join(["python", "-m", "sim", "fuzz", *words])


def _print_report(console: Console, report: dict[str, Any]) -> None:
    table = Table(box=None)
    for column in ("build", "histories", "steps", "faults", "to device", "to driver", "lost"):
        table.add_column(column, justify="left" if column == "build" else "right")
    for run in report["runs"]:
        table.add_row(
            f"{run['top']} {run['fifos']} x {run['data_width']}",
            *(f"{run[name]:,}" for name in ("examples", "steps")),
            f"{sum(run['faults'].values()):,}",
            *(f"{run[name]:,}" for name in SUMS[2:5]),
        )
    console.print(table)
    for run in report["runs"]:
        if not run["ok"]:
            print_failure(console, "Failed:", run["failure"])
            console.print("\n".join(run["program"]), markup=False, soft_wrap=True)
            repeat = _repeat_command(run, report["seed"], report["seconds"])
            console.print(f"Repeat it: {repeat}", markup=False, soft_wrap=True)


__all__ = ["configurations", "run_fuzz"]
