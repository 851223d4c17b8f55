# SPDX-License-Identifier: BSD-2-Clause
"""Proof declarations match the gateware, and the command reports every failure."""

import importlib.util
import json
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from formal import command, netlist, solver
from formal.__main__ import main
from formal.harness import Harness
from formal.mutate import MutantError, install, mutated
from formal.proof import Mutant, Proof
from formal.properties import PROOFS
from hdl.fifo import StreamFifo
from sim.toolchain import add_own_programs

ROOT = Path(__file__).parents[2]


def counts(h: Harness) -> None:
    count = Signal(4, name="count")
    h.m.d.sync += count.eq(count + 1)
    h.ensure(count != 12)
    h.cover(count == 3)


def a_proof(**changes):
    values = {
        "property": "count-is-never-12",
        "statement": "a counter is never 12",
        "source": "this test",
        "module": "hdl.queues.modulo",
        "harness": counts,
        "mutant": Mutant(module="hdl.queues.modulo", before="a", after="b"),
    }
    return Proof(**{**values, **changes})


def source_of(module):
    """File of a module, or of a package's ``__init__``."""
    spec = importlib.util.find_spec(module)
    assert spec and spec.origin
    return Path(spec.origin)


@pytest.mark.parametrize("name", PROOFS)
def test_mutant_text_occurs_once(name):
    proof = PROOFS[name]
    source = source_of(proof.mutant.module).read_text()
    assert mutated(proof.mutant, source) != source


@pytest.mark.parametrize("name", PROOFS)
def test_netlist_has_assertions_and_covers(name):
    """Every internal signal that the harness reads exists."""
    text = netlist.netlist(PROOFS[name])
    assert '"assert"' in text and '"cover"' in text


def test_proofs_have_distinct_statements_sources_and_existing_modules():
    assert len({proof.statement for proof in PROOFS.values()}) == len(PROOFS)
    assert all(proof.source for proof in PROOFS.values())
    for proof in PROOFS.values():
        assert source_of(proof.module).exists()


def test_mutant_changes_the_netlist(tmp_path):
    proof = PROOFS["fifo-words-hold-4"]
    texts = []
    for described in ("", json.dumps(asdict(proof.mutant))):
        file = tmp_path / "design.il"
        subprocess.run(
            [sys.executable, "-m", "formal.netlist", proof.property, str(file)],
            input=described,
            text=True,
            check=True,
            cwd=ROOT,
        )
        texts.append(file.read_text())
    assert texts[0] == netlist.netlist(proof)
    assert texts[0] != texts[1]


@pytest.mark.parametrize("source", ["nothing", "x x"])
def test_mutant_text_that_does_not_occur_once_is_rejected(source):
    mutant = Mutant(module="hdl.queues.modulo", before="x", after="y")
    with pytest.raises(MutantError, match=r"occurs \d times in hdl.queues.modulo: must be once"):
        mutated(mutant, source)


def test_mutant_of_an_imported_module_is_rejected():
    with pytest.raises(MutantError, match=r"hdl.fifo is already imported"):
        install(Mutant(module="hdl.fifo", before="x", after="y"))


@pytest.mark.parametrize(
    "changes, text",
    [
        ({"method": "hope"}, "method is 'hope'"),
        ({"depth": 0}, "depth is 0: must be 1 or more"),
        ({"cover_depth": -1}, "cover_depth is -1"),
    ],
)
def test_invalid_proof_parameter_is_rejected(changes, text):
    with pytest.raises(ValueError, match=text):
        a_proof(**changes)


def test_missing_internal_signal_is_named():
    part = Harness().add("buffer", StreamFifo(8, depth=4))
    assert len(part.inside("level")) == 3
    with pytest.raises(KeyError, match=r"0 signals are named buffer.depth: must be 1"):
        part.inside("depth")


def test_inputs_are_free_unless_driven():
    class Both(wiring.Component):
        i: In(stream.Signature(3))
        more: In(2)
        o: Out(1)

        def elaborate(self, platform):
            return Module()

    harness = Harness()
    harness.add("both", Both(), driven=["i"])
    assert [signal.name for signal in harness.inputs] == ["clk", "both_more"]
    with pytest.raises(ValueError, match="input name both_more is used twice"):
        harness.free(1, "both_more")


GOOD = {"prove": ("PASS", 1.0), "cover": ("PASS", 0.5), "refute": ("FAIL", 0.25)}


def test_entry_of_a_successful_proof():
    entry, failures = command.report_entry(a_proof(), GOOD)
    assert not failures
    assert entry["result"] == "proven" and entry["mutant_rejected"] and entry["covered"]
    assert entry["seconds"] == pytest.approx(1.75, abs=0.06)
    assert {"property", "module", "method", "depth"} < set(entry)


@pytest.mark.parametrize(
    "kind, found, text",
    [
        ("prove", "FAIL", "refuted"),
        ("prove", "UNKNOWN", "induction fails"),
        ("prove", "TIMEOUT", "out of time"),
        ("cover", "FAIL", "a cover statement is not reached"),
        ("refute", "PASS", "its mutant is not rejected"),
        ("refute", "TIMEOUT", "its mutant is not rejected"),
    ],
)
def test_failed_run_fails_the_command(monkeypatch, tmp_path, capsys, kind, found, text):
    results = {**GOOD, kind: (found, 1.0)}
    for name, result in results.items():
        monkeypatch.setattr(solver, name, lambda proof, folder, result=result: result)
    monkeypatch.setattr(solver, "warm_up", lambda: 0.0)
    monkeypatch.setattr(solver, "versions", dict)
    assert command.run_proofs([a_proof()], folder=tmp_path) == 1
    report = json.loads((tmp_path / "report.json").read_text())
    assert not report["ok"]
    assert report["failures"] == [f"count-is-never-12: {text}"]
    assert text in capsys.readouterr().out


def test_solver_error_fails_the_command(monkeypatch, tmp_path):
    def broken(proof, folder):
        raise solver.SolverError("no netlist for count-is-never-12")

    for name in GOOD:
        monkeypatch.setattr(solver, name, broken)
    monkeypatch.setattr(solver, "warm_up", lambda: 0.0)
    monkeypatch.setattr(solver, "versions", dict)
    assert command.run_proofs([a_proof()], folder=tmp_path) == 1
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["proofs"] == [] and len(report["failures"]) == 3


def test_list_prints_every_property(capsys):
    assert main(["--list"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in PROOFS)


def test_solver_results(monkeypatch, tmp_path):
    """The counter reaches 12 after 12 cycles; an induction of depth 3 is inconclusive."""
    add_own_programs()
    if not shutil.which(solver.SBY[0]):
        pytest.skip("no solver: make formal installs it")
    proof = a_proof()

    def write(command, **_):
        Path(command[-1]).write_text(netlist.netlist(proof))
        return subprocess.CompletedProcess(command, 0)

    run = subprocess.run
    monkeypatch.setattr(
        subprocess,
        "run",
        lambda command, **more: (
            write(command) if "formal.netlist" in command else run(command, **more)
        ),
    )
    folder = tmp_path / "proof"
    assert solver.prove(replace(proof, depth=3), folder)[0] == "UNKNOWN"
    assert solver.prove(replace(proof, method="bmc", depth=12), folder)[0] == "PASS"
    assert solver.prove(replace(proof, method="bmc", depth=13), folder)[0] == "FAIL"
    assert solver.cover(replace(proof, cover_depth=4), folder)[0] == "PASS"
    assert solver.cover(replace(proof, cover_depth=3), folder)[0] == "FAIL"
