# SPDX-License-Identifier: BSD-2-Clause
"""Builds a small hand-written Verilog design and runs a cocotb module of this folder on it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
from cocotb_tools.check_results import get_results
from cocotb_tools.runner import get_runner

from sim import toolchain
from sim.build import TIMESCALE, builder_environment
from sim.run import PYTHON_WARNINGS

HERE = Path(__file__).parent
WIDTHS = {"verilator": (128,), "icarus": (64, 512)}
SIMULATORS_AND_WIDTHS = [
    (simulator, width) for simulator, widths in WIDTHS.items() for width in widths
]


def run_slice(
    toplevel: str, module: str, simulator: str, width: int, folder: Path, *, at_least: int
) -> None:
    """Run ``module`` on ``<toplevel>.v``; require at least ``at_least`` tests and no failure."""
    if simulator not in toolchain.available():
        pytest.skip(f"{simulator} is not on this machine")
    # Under pytest, the runner would check the results itself, by the exit status only.
    pytest_test = os.environ.pop("PYTEST_CURRENT_TEST", None)
    try:
        runner = get_runner(simulator)
        with builder_environment(simulator):
            runner.build(
                sources=[HERE / f"{toplevel}.v"],
                hdl_toplevel=toplevel,
                parameters={"W": width},
                build_args=["-Wno-WIDTH"] if simulator == "verilator" else [],
                build_dir=folder / "build",
                timescale=TIMESCALE,
                log_file=folder / "build.log",
            )
        results = folder / "results.xml"
        log = folder / "sim.log"
        path = [str(HERE), str(HERE.parent.parent), os.environ.get("PYTHONPATH", "")]
        variables = {
            "PYTHONPATH": os.pathsep.join(path),
            "PYTHONWARNINGS": PYTHON_WARNINGS,
            "SIM": simulator,
            "COCOTB_ANSI_OUTPUT": "0",
        }
        with contextlib.suppress(SystemExit):
            runner.test(
                test_module=module,
                hdl_toplevel=toplevel,
                hdl_toplevel_lang="verilog",
                build_dir=folder / "build",
                test_dir=folder,
                results_xml=str(results),
                seed=1,
                extra_env=variables,
                log_file=log,
            )
    finally:
        if pytest_test is not None:
            os.environ["PYTEST_CURRENT_TEST"] = pytest_test
    tests, failures = get_results(results)
    assert tests >= at_least and not failures, log.read_text()[-8000:]
