# SPDX-License-Identifier: BSD-2-Clause
"""Runs cocotb modules on a build and reports the outcome."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cocotb_tools.check_results import get_results
from cocotb_tools.runner import get_runner

from .build import TIMESCALE, BuildConfiguration, Built, build, tail
from .errors import CommandFailedError

# cocotbext-pcie and cocotbext-axi use names that cocotb 2 deprecates.
PYTHON_WARNINGS = "ignore::DeprecationWarning"
LOG_NAME = "sim.log"
LOG_LINES = 60
"""Lines of a simulation's log that its error shows."""


class SimulationError(CommandFailedError):
    """A simulation failed; the text says which tests, with what seed, and where the log is."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A simulation that passed.

    Attributes
    ----------
    tests
        Number of cocotb tests that ran, at least one.
    log
        The simulator's output.
    waves
        The recorded waves, if there are any.
    seed
        Seed of all random numbers.
    """

    tests: int
    log: Path
    waves: Path | None
    seed: int


def new_seed() -> int:
    """The seed in the environment variable ``SEED``, or a random one."""
    value = os.environ.get("SEED")
    return int(value, 0) if value else random.SystemRandom().randrange(1 << 31)


def python_path() -> str:
    """``PYTHONPATH`` of a simulation: it imports this copy of the project, wherever it starts."""
    source_root = str(Path(__file__).resolve().parent.parent)
    return os.pathsep.join(part for part in (source_root, os.environ.get("PYTHONPATH")) if part)


def simulate(
    configuration: BuildConfiguration,
    modules: str | Sequence[str],
    folder: Path,
    *,
    testcase: str | None = None,
    seed: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> Outcome:
    """Build ``configuration`` and run cocotb modules on it, one after the other.

    Parameters
    ----------
    configuration
        The build. The tests read it from the environment, see
        :func:`testbench.parameters.parameters`.
    modules
        Import path of the module with the cocotb tests, or those of several.
    folder
        Folder of log, results and waves.
    testcase
        Run only this test.
    seed
        Seed of cocotb's random numbers; the default is :func:`new_seed`.
    environment
        Additional environment variables for the tests.

    Raises
    ------
    SimulationError
        A test failed, none ran, or the simulator reported an error.
    sim.toolchain.NoSimulatorError
        The simulator is not on this machine.
    """
    seed = new_seed() if seed is None else seed
    built = build(configuration)
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / LOG_NAME
    results = folder / "results.xml"
    variables = {
        "NUM_FIFOS": str(configuration.num_fifos),
        "COMPLETION_TIMEOUT": str(configuration.completion_timeout),
        "DMA_WINDOW": str(int(configuration.dma)),
        "BLOCK_OPTIONS": " ".join(configuration.block.chosen()),
        "DATA_WIDTH": str(configuration.data_width),
        "TOP": configuration.top,
        "PCI_SHELL": configuration.shell,
        "SHARED_LAYOUT": configuration.layout,
        "PYTHONPATH": python_path(),
        "PYTHONWARNINGS": PYTHON_WARNINGS,
        "COCOTB_ANSI_OUTPUT": "0",
        **(environment or {}),
    }
    modules = [modules] if isinstance(modules, str) else list(modules)
    runner_error = _run(
        built, configuration, modules, folder, testcase, seed, variables, log, results
    )

    where = f"{' '.join(modules)} on {built.simulator}, seed {seed}, log {log}"
    try:
        tests, failures = get_results(results)
    except RuntimeError as error:
        raise SimulationError(f"ended without results: {where}\n{tail(log, LOG_LINES)}") from error
    if failures:
        raise SimulationError(
            f"{failures} of {tests} tests failed: {where}\n{tail(log, LOG_LINES)}"
        )
    if not tests:
        raise SimulationError(f"no test ran: {where}")
    if runner_error is not None:
        raise SimulationError(f"{runner_error}: {where}\n{tail(log, LOG_LINES)}")
    # Icarus continues after a failed assertion in the gateware, so the test would pass.
    if any(line.startswith("ERROR:") for line in log.read_text(errors="replace").splitlines()):
        raise SimulationError(f"the gateware asserted: {where}\n{tail(log, LOG_LINES)}")
    return Outcome(tests=tests, log=log, waves=_waves(built, configuration, folder), seed=seed)


def _run(
    built: Built,
    configuration: BuildConfiguration,
    modules: Sequence[str],
    folder: Path,
    testcase: str | None,
    seed: int,
    variables: dict[str, str],
    log: Path,
    results: Path,
) -> str | None:
    """Run the simulator; returns the runner's error text, if it reports one."""
    # Under pytest the runner would check the results itself and exit; use the same check always.
    pytest_test = os.environ.pop("PYTEST_CURRENT_TEST", None)
    waves = configuration.waves is not None
    plusargs = []
    if waves and built.simulator == "icarus":
        plusargs.append(f"+dumpfile_path={folder / 'waves.fst'}")
    try:
        # The runner exits with the simulator's status; the results file has more detail.
        with contextlib.suppress(SystemExit):
            get_runner(built.simulator).test(
                test_module=modules,
                hdl_toplevel=configuration.module,
                hdl_toplevel_lang="verilog",
                build_dir=built.folder,
                test_dir=folder,
                results_xml=str(results),
                testcase=testcase,
                seed=seed,
                extra_env=variables,
                plusargs=plusargs,
                waves=waves,
                timescale=TIMESCALE,
                log_file=log,
            )
    except RuntimeError as error:
        return str(error)
    finally:
        if pytest_test is not None:
            os.environ["PYTEST_CURRENT_TEST"] = pytest_test
    return None


def _waves(built: Built, configuration: BuildConfiguration, folder: Path) -> Path | None:
    if configuration.waves is None:
        return None
    name = "waves.fst" if built.simulator == "icarus" else f"dump.{configuration.waves}"
    return folder / name if (folder / name).exists() else None


__all__ = ["LOG_LINES", "Outcome", "SimulationError", "new_seed", "python_path", "simulate"]
