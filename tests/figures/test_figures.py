# SPDX-License-Identifier: BSD-2-Clause
"""Figures are recorded, rendered and compared, and the committed documents are current."""

import copy
import json
from pathlib import Path

import pytest

from figures import __main__ as main_module
from figures import baseline, compare, document
from figures.baseline import ALL_FIFOS, AreaFigures, SynthesisPoint
from formal.properties import PROOFS
from hdl.tlp import DATA_WIDTHS
from hdl.verilog import TOPS
from sim.lab.bench.bounds import FIGURES
from sim.lab.bench.native import LIMITS as NATIVE_LIMITS
from synth.designs import DESIGNS
from synth.limits import HEADLINES, is_placed_for_ci

ROOT = Path(__file__).parents[2]
COMMITTED = baseline.load(ROOT / baseline.BASELINE)
OF_RATES = FIGURES[:3]
PROVEN = list(PROOFS)[:2]


def measured(figures, width):
    return {
        figure.key: {"value": figure.bound(width) * 1.001, "bound": figure.bound(width)}
        for figure in figures
    }


@pytest.fixture
def reports():
    widths = {str(width): measured(FIGURES, width) for width in DATA_WIDTHS}
    speed = {"cycles_per_second": 10_000, "messages_per_second": 20.0}
    rates = {"reads_per_s": 2000, "writes_per_s": 4000}
    ratios = {"reads_ratio": 0.1, "writes_ratio": 0.2}
    return {
        "formal": {
            "tools": {"solver": "1"},
            "proofs": [
                {
                    "property": name,
                    "result": "proven",
                    "mutant_rejected": True,
                }
                for name in PROVEN
            ],
        },
        "bench": {
            "simulator": "verilator",
            "widths": copy.deepcopy(widths),
            "core": {"widths": copy.deepcopy(widths)},
            "every_fifo": {top: measured(OF_RATES, 128) for top in TOPS},
            "push_interrupts": {top: dict.fromkeys(widths, 61) for top in TOPS},
            "simulation": {"verilator": {"thin": speed, "root_complex": speed}},
            "bridge": {"memory": rates, "verilator": {**rates, **ratios}},
            "native": dict.fromkeys(NATIVE_LIMITS, 20.0),
        },
        "synth": {
            "tools": {"yosys": "2"},
            "configurations": [
                {
                    **design.__dict__,
                    "target": target,
                    "speed_grade": speed_grade,
                    "lut4": 2000,
                    "ff": 1000,
                    "bram": 10,
                    "fmax_mhz": 130.0 if speed_grade else None,
                }
                for design in DESIGNS
                for target, speed_grade in (("ecp5", 6), ("ecp5", 8), ("xc7", None))
            ],
        },
    }


@pytest.fixture
def recorded(reports):
    return json.loads(baseline.dump(baseline.from_reports(reports)))


def point_of(entry):
    return SynthesisPoint(**{name: entry[name] for name in SynthesisPoint.__annotations__})


def test_baseline_has_the_figures_of_the_reports(reports, recorded):
    assert recorded["tools"] == {"solver": "1", "yosys": "2"}
    assert recorded["proofs"] == PROVEN
    for top in TOPS:
        columns = recorded["cycles"][top]
        assert set(columns) == {*map(str, DATA_WIDTHS), ALL_FIFOS}
        for figure in FIGURES:
            for width in DATA_WIDTHS:
                expected = reports["bench"]["widths"][str(width)][figure.key]["value"]
                assert columns[str(width)][figure.key] == pytest.approx(expected, rel=1e-5)
        assert columns["64"]["push_interrupts"] == 61
        assert set(columns[ALL_FIFOS]) == {figure.key for figure in OF_RATES}
    areas = baseline.synthesis(recorded)
    for entry in reports["synth"]["configurations"]:
        area = AreaFigures(entry["lut4"], entry["ff"], entry["bram"], entry["fmax_mhz"])
        assert areas[point_of(entry)] == area


def test_baseline_file_has_a_line_per_synthesis_point(recorded):
    lines = baseline.dump(recorded).splitlines()
    assert sum('"lut4"' in line for line in lines) == len(recorded["synthesis"])
    assert max(map(len, lines)) < 200


def test_document_has_a_row_per_figure(recorded):
    text = document.render(recorded)
    for name in PROVEN:
        assert f"| {name} | {PROOFS[name].statement} | " in text
    assert "| pop_cycles_per_message | 8.008 / 8 | 4.004 / 4 | 2.002 / 2 | 1.001 / 1 | " in text
    assert "| pop_cycles_per_message | 4.004 | 4.004 | 4 | ≤ 4.2 |\n" in text
    assert (
        "| core | 128 | 1 | yes | spsc-pages | 2,000 | 1,000 | 10 | 130 | 130 | "
        "fmax_mhz at least 130 |" in text
    )
    assert "| push_interrupts | 61 / 61 | 61 / 61 | 61 / 61 | 61 / 61 |  |\n" in text
    assert "| verilator | root complex | 10,000 | 20 | 1.0 |\n" in text
    assert "| memory | 2,000 | 1 | 4,000 | 1 |\n" in text
    assert "| verilator | 2,000 | 0.1 | 4,000 | 0.2 |\n" in text
    assert "| core | 64 | 1 | yes | spsc-pages | ecp5 | 6 | 2000 | 1000 | 10 | 130.0 |\n" in text
    assert "| core | 64 | 1 | yes | spsc-pages | xc7 |  | 2000 | 1000 | 10 |  |\n" in text


def test_charts_are_over_the_number_of_fifos(reports):
    for entry in reports["synth"]["configurations"]:
        entry["lut4"] = 100 * entry["num_fifos"]
        if entry["fmax_mhz"]:
            entry["fmax_mhz"] = 160.0 + entry["speed_grade"] - entry["num_fifos"]
    text = document.render(baseline.from_reports(reports))
    assert 'x-axis "FIFOs" [1, 2, 4, 8]' in text
    assert "bar [100, 200, 400, 800]\n" in text
    assert "line [165, 164, 162, 158]\n    line [167, 166, 164, 160]\n" in text
    assert text.count("```mermaid\n") == 2


def test_reports_have_no_loss_against_their_own_baseline(reports, recorded):
    assert compare.losses(reports, recorded) == []


def cycles_of(reports, top, width):
    bench = reports["bench"] if top == "endpoint" else reports["bench"][top]
    return bench["widths"][str(width)]


@pytest.mark.parametrize("top", TOPS)
@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.key)
def test_loss_of_cycles_is_reported(reports, recorded, top, figure):
    entry = cycles_of(reports, top, 128)[figure.key]
    worse = -1 if figure.more_is_better else 1
    before = entry["value"]
    entry["value"] = before * (1 + worse * 0.049)
    assert compare.losses(reports, recorded) == []
    entry["value"] = before * (1 + worse * 0.051)
    (loss,) = compare.losses(reports, recorded)
    assert loss.startswith(f"{top}, 128: {figure.key} was ")
    entry["value"] = before * (1 - worse * 0.5)
    assert compare.losses(reports, recorded) == []


def test_loss_of_cycles_with_all_fifos_is_reported(reports, recorded):
    reports["bench"]["every_fifo"]["core"]["both_cycles_per_message"]["value"] *= 1.06
    (loss,) = compare.losses(reports, recorded)
    assert loss.startswith("core, all_fifos: both_cycles_per_message was ")


@pytest.mark.parametrize(
    "name, accepted, lost",
    [("lut4", 2200, 2201), ("ff", 1100, 1101), ("bram", 11, 12), ("fmax_mhz", 117.1, 116.9)],
)
def test_loss_of_area_or_frequency_is_reported(reports, recorded, name, accepted, lost):
    entry = reports["synth"]["configurations"][0]
    entry[name] = accepted
    assert compare.losses(reports, recorded) == []
    entry[name] = lost
    (loss,) = compare.losses(reports, recorded)
    assert f": {name} was " in loss and loss.startswith(str(point_of(entry)))


@pytest.mark.parametrize(
    "change", [{"result": "out of time"}, {"mutant_rejected": False}, {"property": "another"}]
)
def test_lost_proof_is_reported(reports, recorded, change):
    reports["formal"]["proofs"][1].update(change)
    assert compare.losses(reports, recorded) == [f"{PROVEN[1]} is no longer proven"]


def test_missing_headline_design_is_reported(reports, recorded):
    configurations = reports["synth"]["configurations"]
    headlines = [
        point_of({**design.__dict__, "target": "ecp5", "speed_grade": 6}) for design in HEADLINES
    ]
    reports["synth"]["configurations"] = [
        entry for entry in configurations if point_of(entry) in headlines
    ]
    assert compare.losses(reports, recorded) == []
    for entry in reports["synth"]["configurations"]:
        if not is_placed_for_ci(point_of(entry).design):
            entry["fmax_mhz"] = None
    assert compare.losses(reports, recorded) == []
    reports["synth"]["configurations"].pop()
    (loss,) = compare.losses(reports, recorded)
    assert "has not been synthesised" in loss


def test_design_without_baseline_is_reported(reports, recorded):
    reports["synth"]["configurations"][0]["data_width"] = 1024
    assert any("is not in the baseline" in loss for loss in compare.losses(reports, recorded))


@pytest.fixture
def folder(reports, tmp_path, monkeypatch):
    for name, report in reports.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.json").write_text(json.dumps(report))
    monkeypatch.setattr(main_module, "BUILD_ROOT", tmp_path)
    monkeypatch.setattr(main_module, "BASELINE", tmp_path / "baseline.json")
    monkeypatch.setattr(main_module, "DOCUMENT", tmp_path / "figures.md")
    return tmp_path


def test_write_records_and_renders(folder, reports, recorded, capsys):
    assert main_module.main(["--write"]) == 0
    assert baseline.load(folder / "baseline.json") == recorded
    assert (folder / "figures.md").read_text() == document.render(recorded)


def test_render_needs_no_report(folder, recorded):
    assert main_module.main(["--write"]) == 0
    for name in ("formal", "bench", "synth"):
        (folder / name / "report.json").unlink()
    text = (folder / "figures.md").read_text()
    (folder / "figures.md").unlink()
    assert main_module.main(["--render"]) == 0
    assert (folder / "figures.md").read_text() == text


def test_check_compares_the_reports_with_the_baseline(folder, reports, capsys):
    assert main_module.main(["--write"]) == 0
    assert main_module.main(["--check"]) == 0
    assert "nothing lost" in capsys.readouterr().out
    reports["synth"]["configurations"][0]["lut4"] = 3000
    (folder / "synth" / "report.json").write_text(json.dumps(reports["synth"]))
    (folder / "figures.md").unlink()
    assert main_module.main(["--check"]) == 1
    assert "lut4 was 2000, is 3000" in capsys.readouterr().out


@pytest.mark.parametrize("action", ["--write", "--check"])
def test_missing_report_is_named(folder, capsys, action):
    (folder / "bench" / "report.json").unlink()
    assert main_module.main([action]) == 1
    assert "run make bench first" in capsys.readouterr().err
    assert not (folder / "baseline.json").exists()


def test_committed_baseline_has_every_proof_figure_and_design():
    assert set(COMMITTED["proofs"]) == set(PROOFS), "make figures"
    for top in TOPS:
        columns = COMMITTED["cycles"][top]
        assert set(columns) == {*map(str, DATA_WIDTHS), ALL_FIFOS}
        for width in DATA_WIDTHS:
            assert set(columns[str(width)]) == {*(f.key for f in FIGURES), "push_interrupts"}
    assert {point.design for point in baseline.synthesis(COMMITTED)} == set(DESIGNS)
    assert (ROOT / baseline.BASELINE).read_text() == baseline.dump(COMMITTED)


def test_committed_document_is_the_rendering_of_the_baseline():
    text = (ROOT / document.DOCUMENT).read_text()
    assert text == document.render(COMMITTED), "python -m figures --render"
