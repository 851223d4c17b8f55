# SPDX-License-Identifier: BSD-2-Clause
"""The server on the native engine, as a process: ``python -m sim.vm.serve.native``."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hdl.block_options import NO_OPTIONS
from testbench.timing import CLOCK_PERIOD_NS

from ...build import BuildConfiguration, tail
from ...native.endpoint import FOREVER
from ...native.system import NativeSystem
from ...run import LOG_LINES, LOG_NAME, Outcome, SimulationError, python_path
from ..bridge.gateware import GatewareFunction
from .control import CONTROL, ControlChannel
from .service import MAX_PAYLOAD_SIZE, Session

SETTINGS = "NATIVE_SETTINGS"
"""Environment variable: the build and the file of its waves, as JSON."""
POLL_CYCLES = 8
"""Cycles between two polls of the files; they take about as long as the poll."""


def run_process(
    configuration: BuildConfiguration,
    folder: Path,
    control: str,
    *,
    window_us: tuple[float, float] | None = None,
) -> Outcome:
    """Serve ``configuration`` in a process of its own, until it ends.

    Parameters
    ----------
    configuration
        The build.
    folder
        Folder of log and waves.
    control
        Path of the socket of the control channel.
    window_us
        Record waves only between these microseconds of simulated time.

    Raises
    ------
    SimulationError
        The process failed; the text has the end of its log.
    """
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / LOG_NAME
    waves = None if configuration.waves is None else folder / f"dump.{configuration.waves}"
    if waves is not None:
        waves.unlink(missing_ok=True)
    build = {name: value for name, value in asdict(configuration).items() if name != "block"}
    assert configuration.block == NO_OPTIONS, "an endpoint has no hard block"
    settings = {
        "build": build,
        "waves": None if waves is None else str(waves),
        "window": _cycles(window_us),
    }
    environment = {
        CONTROL: control,
        SETTINGS: json.dumps(settings),
        "PYTHONPATH": python_path(),
    }
    with log.open("wb") as output:
        status = subprocess.run(
            [sys.executable, "-m", __spec__.name],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        ).returncode
    if status:
        raise SimulationError(f"the simulation failed, log {log}\n{tail(log, LOG_LINES)}")
    written = waves if waves is not None and waves.exists() else None
    return Outcome(tests=1, log=log, waves=written, seed=0)


def _cycles(window_us: tuple[float, float] | None) -> tuple[int, int]:
    """First and last cycle of a window."""
    if window_us is None:
        return 0, FOREVER
    first, last = (1000 * time_us / CLOCK_PERIOD_NS for time_us in window_us)
    return math.floor(first), math.ceil(min(last, FOREVER))


def main() -> None:
    """Serve until the command closes its end of the control channel."""
    settings: Any = json.loads(os.environ[SETTINGS])
    session = Session(ControlChannel.connect(os.environ[CONTROL]))
    with NativeSystem(
        session.devices.by_fifo,
        BuildConfiguration(**settings["build"]),
        revision=session.revision,
        drivers=False,
        waves=settings["waves"] and Path(settings["waves"]),
        window=tuple(settings["window"]),
        max_payload_size=MAX_PAYLOAD_SIZE,
    ) as system:
        system.run(session.serve(GatewareFunction(system, poll_cycles=POLL_CYCLES)))


if __name__ == "__main__":
    main()
