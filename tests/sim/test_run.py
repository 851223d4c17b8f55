# SPDX-License-Identifier: BSD-2-Clause
"""Runner, build cache, simulator selection, command line and demo."""

import json
import re
import subprocess
import sys

import pytest
from builds import COMPLETION_TIMEOUT

from models.messages import REVISIONS
from sim import build as builds
from sim import toolchain
from sim.__main__ import main
from sim.build import BuildConfiguration, build
from sim.lab.demo.command import run_demo
from sim.run import Outcome, SimulationError, simulate

MODULE = "tests.sim.misbehaving"
CONFIGURATION = BuildConfiguration(
    num_fifos=2, data_width=128, completion_timeout=COMPLETION_TIMEOUT
)


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


@pytest.mark.parametrize("revision", ["v1", "r1"])
def test_demo_report(revision, monkeypatch, tmp_path, capsys):
    """The demo's report has the endpoint's properties, and its figures are consistent."""
    monkeypatch.setattr("sim.lab.demo.command.BUILD_ROOT", tmp_path)
    assert run_demo(CONFIGURATION, revision=revision, seed=1) == 0
    output = capsys.readouterr().out
    report = json.loads((tmp_path / "demo" / "report.json").read_text())
    assert (report["ok"], report["revision"]) == (True, revision)
    assert (report["num_fifos"], report["data_width"]) == (2, 128)
    enumerated = report["enumerated"]
    assert (enumerated["vendor_id"], enumerated["device_id"]) == (0x10EE, 0x9039)
    assert {bar["bar"]: bar["size"] for bar in enumerated["bars"]} == {
        0: 0x4000,
        1: 0x8000,
        2: 0x1000,
    }
    assert enumerated["msix_vectors"] == 2
    assert [(d["fifo"], d["dev_num"], d["device_id"]) for d in report["devices"]] == [
        (fifo, number, device_id)
        for fifo in (0, 1)
        for number, device_id in ((0, 4), (1, 2), (3, 3), (4, 1))
    ]
    assert report["rng_bytes"] == 2 * 4096
    assert report["blk_bytes"] == 2 * 64 * 512 and report["blk_sha256_ok"] is True
    assert report["console_ok"] is True and report["pings_ok"] == 2 * 3
    # Each disk image crosses once each way, the entropy once, plus rings and descriptors.
    moved = report["blk_bytes"]
    assert moved < report["dma_read_bytes"] < 2 * moved
    assert moved + report["rng_bytes"] < report["dma_write_bytes"] < 2 * moved
    trace = (tmp_path / "demo" / "trace.jsonl").read_text().splitlines()
    ways = [json.loads(line)["direction"] for line in trace]
    assert ways.count("driver→device") == report["messages_to_device"] > 0
    assert ways.count("device→driver") == report["messages_to_driver"] > 0
    # The omitted messages are counted.
    omitted = sum(int(count) for count in re.findall(r"… and (\d+) more messages", output))
    shown = output.count("driver ─► device") + output.count("driver ◄─ device")
    assert shown + omitted == report["messages_to_device"] + report["messages_to_driver"]
    assert ("Hot-plug" in output) == REVISIONS[revision].has("BUS_EVENT_DEVICE", "event")
    for device in ("entropy 1", "disk 0", "console 1", "network 0"):
        assert device in output
    assert 0 < report["interrupts"] <= report["messages_to_driver"]
    assert report["cycles"] * 4 == pytest.approx(report["sim_time_ns"], abs=4)
    assert report["wall_s"] > 0 and report["simulator"] in toolchain.available()


def test_failed_demo_is_reported(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("sim.lab.demo.command.BUILD_ROOT", tmp_path)
    monkeypatch.setattr("sim.lab.demo.command.SCENARIO", "tests.sim.misbehaving")
    assert run_demo(CONFIGURATION, seed=1) == 1
    assert "The demo failed" in capsys.readouterr().out
    assert json.loads((tmp_path / "demo" / "report.json").read_text())["ok"] is False
