# SPDX-License-Identifier: BSD-2-Clause
"""``python -m sim demo``: the report of a passing and of a failing run."""

import json
import re

import pytest
from builds import build_configuration

from models.messages import REVISIONS
from sim import toolchain
from sim.lab.demo.command import run_demo

CONFIGURATION = build_configuration()


@pytest.mark.parametrize(
    "revision",
    ["r1", pytest.param("v1", marks=pytest.mark.regress(reason="make demo runs it as well"))],
)
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
    image_bytes = report["blk_bytes"]
    assert image_bytes < report["dma_read_bytes"] < 2 * image_bytes
    assert image_bytes + report["rng_bytes"] < report["dma_write_bytes"] < 2 * image_bytes
    trace = (tmp_path / "demo" / "trace.jsonl").read_text().splitlines()
    directions = [json.loads(line)["direction"] for line in trace]
    assert directions.count("driver→device") == report["messages_to_device"] > 0
    assert directions.count("device→driver") == report["messages_to_driver"] > 0
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
