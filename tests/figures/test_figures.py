# SPDX-License-Identifier: BSD-2-Clause
"""docs/figures.md says what was measured, and what is lost against it is told."""

import copy
import json
from pathlib import Path

import pytest

from figures import __main__ as main_module
from figures import compare, document, readme, tables
from formal.properties import PROOFS
from hdl.tlp import DATA_WIDTHS
from hdl.verilog import TOPS
from sim.lab.bench.bounds import FIGURES
from synth.designs import DESIGNS, HEADLINES

ROOT = Path(__file__).parents[2]
COMMITTED = (ROOT / document.DOCUMENT).read_text()
OF_RATES = FIGURES[:3]


def judged(figures, width):
    return {
        figure.key: {"value": figure.bound(width) * 1.001, "bound": figure.bound(width)}
        for figure in figures
    }


@pytest.fixture
def reports():
    widths = {str(width): judged(FIGURES, width) for width in DATA_WIDTHS}
    speed = {"cycles_per_second": 10_000, "messages_per_second": 20.0}
    rates = {"reads_per_s": 2000, "writes_per_s": 4000}
    ratios = {"reads_ratio": 0.1, "writes_ratio": 0.2}
    return {
        "formal": {
            "tools": {"solver": "1"},
            "proofs": [
                {
                    "property": f"p{number}",
                    "statement": "it is so",
                    "source": "a book",
                    "module": "hdl.core",
                    "method": "bmc",
                    "depth": 7,
                    "result": "proven",
                    "mutant_rejected": True,
                }
                for number in range(2)
            ],
        },
        "bench": {
            "simulator": "verilator",
            "widths": copy.deepcopy(widths),
            "core": {"widths": copy.deepcopy(widths)},
            "every_fifo": {top: judged(OF_RATES, 128) for top in TOPS},
            "push_interrupts": {top: dict.fromkeys(widths, 61) for top in TOPS},
            "simulation": {"verilator": {"thin": speed, "root_complex": speed}},
            "bridge": {"memory": rates, "verilator": {**rates, **ratios}},
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


def test_what_is_written_is_read_back(reports):
    text = document.render(reports)
    assert document.proofs(text) == {"p0", "p1"}
    for top in TOPS:
        columns = document.cycles(text, top)
        assert set(columns) == {*map(str, DATA_WIDTHS), "every"}
        for figure in FIGURES:
            for width in DATA_WIDTHS:
                want = reports["bench"]["widths"][str(width)][figure.key]["value"]
                assert columns[str(width)][figure.key] == pytest.approx(want, rel=1e-5)
        assert columns["64"]["push_interrupts"] == 61
        assert set(columns["every"]) == {figure.key for figure in OF_RATES}
    areas = document.areas(text)
    for entry in reports["synth"]["configurations"]:
        assert areas[document.configuration_of(entry)] == document.area_of(entry)


def test_nothing_is_lost_against_itself(reports):
    assert compare.losses(reports, document.render(reports)) == []


def cycles_of(reports, top, width):
    bench = reports["bench"] if top == "endpoint" else reports["bench"][top]
    return bench["widths"][str(width)]


@pytest.mark.parametrize("top", TOPS)
@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.key)
def test_a_loss_of_cycles(reports, top, figure):
    text = document.render(reports)
    entry = cycles_of(reports, top, 128)[figure.key]
    worse = -1 if figure.more_is_better else 1
    was = entry["value"]
    entry["value"] = was * (1 + worse * 0.049)
    assert compare.losses(reports, text) == []
    entry["value"] = was * (1 + worse * 0.051)
    (loss,) = compare.losses(reports, text)
    assert loss.startswith(f"{top}, 128: {figure.key} was ")
    entry["value"] = was * (1 - worse * 0.5)
    assert compare.losses(reports, text) == []


def test_a_loss_of_cycles_with_every_fifo(reports):
    text = document.render(reports)
    reports["bench"]["every_fifo"]["core"]["both_cycles_per_message"]["value"] *= 1.06
    (loss,) = compare.losses(reports, text)
    assert loss.startswith("core, every: both_cycles_per_message was ")


@pytest.mark.parametrize(
    "name, kept, lost",
    [("lut4", 2200, 2201), ("ff", 1100, 1101), ("bram", 11, 12), ("fmax_mhz", 117.1, 116.9)],
)
def test_a_loss_of_area_or_frequency(reports, name, kept, lost):
    text = document.render(reports)
    entry = reports["synth"]["configurations"][0]
    entry[name] = kept
    assert compare.losses(reports, text) == []
    entry[name] = lost
    (loss,) = compare.losses(reports, text)
    assert f": {name} was " in loss and loss.startswith(str(document.configuration_of(entry)))


@pytest.mark.parametrize(
    "change", [{"result": "out of time"}, {"mutant_rejected": False}, {"property": "another"}]
)
def test_a_proof_that_is_gone(reports, change):
    text = document.render(reports)
    reports["formal"]["proofs"][1].update(change)
    assert compare.losses(reports, text) == ["p1 was proven, and is not"]


def test_the_headline_designs_have_to_be_there(reports):
    text = document.render(reports)
    configurations = reports["synth"]["configurations"]
    wanted = [
        document.configuration_of({**design.__dict__, "target": "ecp5", "speed_grade": 6})
        for design in HEADLINES
    ]
    reports["synth"]["configurations"] = [
        entry for entry in configurations if document.configuration_of(entry) in wanted
    ]
    assert compare.losses(reports, text) == []
    reports["synth"]["configurations"].pop()
    (loss,) = compare.losses(reports, text)
    assert "has not been synthesised" in loss


def test_a_configuration_that_is_new(reports):
    text = document.render(reports)
    reports["synth"]["configurations"][0]["data_width"] = 1024
    assert any("is not in the baseline" in loss for loss in compare.losses(reports, text))


def test_a_table_that_is_not_there():
    with pytest.raises(tables.TableError, match="there is no heading 'Proofs'"):
        tables.read("# Figures\n", "Proofs")
    with pytest.raises(tables.TableError, match="there is no table below 'Proofs'"):
        tables.read("# Figures\n\n## Proofs\n\n## Cycles\n\n| a |\n", "Proofs")


@pytest.fixture
def here(reports, tmp_path, monkeypatch):
    for name, report in reports.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.json").write_text(json.dumps(report))
    monkeypatch.setattr(main_module, "BUILD_ROOT", tmp_path)
    monkeypatch.setattr(main_module, "DOCUMENT", tmp_path / "figures.md")
    monkeypatch.setattr(main_module, "README", tmp_path / "README.md")
    (tmp_path / "README.md").write_text(f"before\n{readme.BEGIN}old\n{readme.END}after\n")
    return tmp_path


def test_the_command(here, reports, capsys):
    assert main_module.main(["--write"]) == 0
    shown = (here / "README.md").read_text()
    assert shown.startswith("before\n") and shown.endswith("after\n") and "old" not in shown
    assert "| pop_cycles_per_message | 4.004 | 4.004 | 4 | ≤ 4.2 |\n" in shown
    assert "| core | 128 | yes | 2,000 | 1,000 | 10 | 130 | 130 | fmax_mhz at least 125 |" in shown
    assert main_module.main(["--check"]) == 0
    reports["synth"]["configurations"][0]["lut4"] = 3000
    (here / "synth" / "report.json").write_text(json.dumps(reports["synth"]))
    assert main_module.main(["--check"]) == 1
    assert "lut4 was 2000, is 3000" in capsys.readouterr().out


def test_a_report_that_is_not_there_is_named(here, capsys):
    (here / "bench" / "report.json").unlink()
    assert main_module.main(["--write"]) == 1
    assert "run make bench first" in capsys.readouterr().err


def test_the_document_has_every_proof_figure_and_design():
    assert document.proofs(COMMITTED) == set(PROOFS)
    for top in TOPS:
        columns = document.cycles(COMMITTED, top)
        assert set(columns) == {*map(str, DATA_WIDTHS), "every"}
        for width in DATA_WIDTHS:
            assert set(columns[str(width)]) == {*(f.key for f in FIGURES), "push_interrupts"}


def test_the_readme_shows_what_the_document_says():
    text = (ROOT / readme.README).read_text()
    assert readme.with_summary(text, COMMITTED) == text, "make figures"
    with pytest.raises(readme.ReadmeError, match="there is no <!-- figures"):
        readme.with_summary("# README\n", COMMITTED)
