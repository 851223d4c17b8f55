# SPDX-License-Identifier: BSD-2-Clause
"""``python -m sim fuzz``: the report, and the failures that it must have."""

import json

import pytest
from builds import build_configuration

from sim.__main__ import main
from sim.lab import fuzz
from testbench.hostile.fuzz import HISTORIES, SHRINK_HISTORIES

CONFIGURATION = build_configuration()
SECONDS = 1
SHRINK = 10


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Runs the fuzzer, optionally with a bench of the tests; returns exit status and report.

    ``histories`` sets the number of histories and the number for shrinking, instead of the time.
    """

    def run(bench=None, histories=None):
        monkeypatch.setattr(fuzz, "BUILD_ROOT", tmp_path)
        if bench is not None:
            monkeypatch.setattr(fuzz, "HISTORIES", "tests.sim.lab.hostile_benches")
            monkeypatch.setenv("FUZZ_BENCH", bench)
        if histories is not None:
            for name, count in zip((HISTORIES, SHRINK_HISTORIES), histories, strict=True):
                monkeypatch.setenv(name, str(count))
            monkeypatch.setattr(fuzz, "GRACE_SECONDS", 600.0)
        status = fuzz.run_fuzz([CONFIGURATION], seconds=SECONDS, seed=5)
        return status, json.loads((tmp_path / "fuzz" / "report.json").read_text())

    return run


def test_report_of_passing_fuzz(run, capsys):
    status, report = run(histories=(10, 0))
    assert (status, report["ok"], report["seed"], report["seconds"]) == (0, True, 5, SECONDS)
    assert report["examples"] == 10 and report["steps"] > report["examples"]
    assert report["messages_lost"] == 0
    assert report["messages_to_device"] > 0 and report["messages_to_driver"] > 0
    assert report["faults_injected"] == sum(report["faults"].values()) > 0
    (only,) = report["runs"]
    assert (only["top"], only["fifos"], only["data_width"]) == ("endpoint", 2, 128)
    assert only["ok"] and only["failure"] is None and only["program"] == []
    assert {name: only[name] for name in fuzz.SUMS} == {name: report[name] for name in fuzz.SUMS}
    assert "seed 5" in capsys.readouterr().out


def test_fuzz_runs_for_requested_time(run):
    status, report = run()
    (only,) = report["runs"]
    assert status == 0 and only["wall_s"] >= SECONDS and only["examples"] > 0


def test_lost_message_fails_fuzz(run, capsys):
    status, report = run("forgetful", histories=(100, SHRINK))
    assert (status, report["ok"]) == (1, False)
    assert report["messages_lost"] > 0
    (only,) = report["runs"]
    assert only["failure"].startswith("HostileFailure: driver queue")
    assert only["program"][0] == "await hostile.begin()"
    assert any(step.startswith("await hostile.publish(") for step in only["program"])
    assert only["failure"].endswith(("messages were not delivered", "were skipped"))
    output = capsys.readouterr().out
    assert "Repeat it: python -m sim fuzz --seed 5" in output and "await hostile.begin()" in output


@pytest.mark.parametrize("bench, text", [("hangs", "hangs"), ("dies", "ended without results")])
def test_hanging_or_dying_simulator_fails_fuzz(bench, text, run, monkeypatch):
    monkeypatch.setattr(fuzz, "SHRINK_SECONDS", 0.0)
    monkeypatch.setattr(fuzz, "GRACE_SECONDS", 5.0)
    status, report = run(bench)
    assert (status, report["ok"]) == (1, False)
    (only,) = report["runs"]
    assert text in only["failure"]
    assert only["program"] == ["await hostile.begin()"]


def test_seconds_must_be_positive(capsys):
    assert main(["fuzz", "--seconds", "0"]) == 1
    assert "must be above 0" in capsys.readouterr().err
