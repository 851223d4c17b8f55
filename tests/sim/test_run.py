# SPDX-License-Identifier: BSD-2-Clause
"""Runner, build cache, simulator selection and command line."""

import subprocess
import sys

import pytest
from builds import build_configuration

from sim import build as builds
from sim import toolchain
from sim.__main__ import main
from sim.build import BuildConfiguration, build
from sim.run import Outcome, SimulationError, simulate

MODULE = "tests.sim.misbehaving"
CONFIGURATION = build_configuration()


def test_passing_test_gives_outcome(tmp_path):
    outcome = simulate(CONFIGURATION, MODULE, tmp_path, testcase="passes", seed=7)
    assert (outcome.tests, outcome.seed) == (1, 7)
    assert "Seeding Python random module with 7" in outcome.log.read_text()


@pytest.mark.parametrize(
    "testcase, text",
    [
        ("fails", "1 of 1 tests failed"),
        ("hangs", "1 of 1 tests failed"),
        ("prints_like_an_assertion", "the gateware asserted"),
        ("dies", "ended without results"),
        ("no_such_test", "no test ran|ended without results"),
    ],
)
def test_failed_simulation_raises_error(testcase, text, tmp_path):
    with pytest.raises(SimulationError, match=text) as caught:
        simulate(CONFIGURATION, MODULE, tmp_path, testcase=testcase, seed=7)
    assert "seed 7" in str(caught.value)


def test_missing_module_raises_error(tmp_path):
    with pytest.raises(SimulationError):
        simulate(CONFIGURATION, "tests.sim.no_such_module", tmp_path)


def test_cached_build_is_not_rebuilt(monkeypatch):
    first = build(CONFIGURATION)

    def never(*_):
        raise AssertionError("built again")

    monkeypatch.setattr(builds, "_run_builder", never)
    monkeypatch.setattr(builds, "generate", never)
    assert build(CONFIGURATION) == first


def test_failed_build_raises_error(monkeypatch, tmp_path):
    monkeypatch.setattr(builds, "BUILD_ROOT", tmp_path)
    monkeypatch.setattr(builds, "generate", lambda *_, **__: "module amp_pci_core(; endmodule\n")
    text = r"could not build the gateware, log .*build\.log\n.*rror"
    with pytest.raises(builds.BuildError, match=text):
        build(BuildConfiguration(top="core"))
    assert not list(tmp_path.rglob("built"))


def test_no_simulator_raises_error(monkeypatch):
    monkeypatch.setattr(toolchain, "available", dict)
    with pytest.raises(toolchain.NoSimulatorError, match="install Verilator"):
        toolchain.find()


def test_missing_simulator_raises_error(monkeypatch):
    only = {"verilator": toolchain.Simulator("verilator", "x")}
    monkeypatch.setattr(toolchain, "available", lambda: only)
    with pytest.raises(toolchain.NoSimulatorError, match="icarus is not on this machine"):
        toolchain.find("icarus")


def test_missing_libpython_raises_error(monkeypatch):
    monkeypatch.setattr(toolchain.find_libpython, "find_libpython", lambda: None)
    with pytest.raises(toolchain.NoSimulatorError, match="Python's shared library"):
        toolchain.find()


def test_fst_without_capable_simulator_raises_error(monkeypatch):
    only = {"verilator": toolchain.Simulator("verilator", "x")}
    monkeypatch.setattr(toolchain, "available", lambda: only)
    monkeypatch.setattr(toolchain, "_has_lz4", lambda: False)
    assert toolchain.best_wave_format(only["verilator"]) == "vcd"
    with pytest.raises(toolchain.NoSimulatorError, match="FST waves need"):
        toolchain.find_for_fst()


@pytest.mark.parametrize("fifos", ["0", "9"])
def test_invalid_number_of_fifos_is_one_line(fifos):
    command = [sys.executable, "-m", "sim", "run", MODULE, "--fifos", fifos]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "from 1 to 8" in done.stderr


def test_folder_of_many_modules(monkeypatch, tmp_path):
    """All regressions in one simulation: their names together are too long for a folder's name."""
    modules = [f"tests.regressions.{number:020}" for number in range(30)]
    outcome = Outcome(tests=1, log=tmp_path, waves=None, seed=1)

    def make_the_folder(_configuration, names, folder, **_options):
        folder.mkdir(parents=True)
        assert names == modules
        return outcome

    monkeypatch.setattr("sim.__main__.BUILD_ROOT", tmp_path)
    monkeypatch.setattr("sim.__main__.simulate", make_the_folder)
    assert main(["run", *modules]) == 0
