# SPDX-License-Identifier: BSD-2-Clause
"""The proofs are of the gateware that there is, and what is wrong with one is told."""

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
        "statement": "it is not",
        "source": "nowhere",
        "module": "hdl.queues.modulo",
        "harness": counts,
        "mutant": Mutant(module="hdl.queues.modulo", before="a", after="b"),
    }
    return Proof(**{**values, **changes})


@pytest.mark.parametrize("name", PROOFS)
def test_a_mutant_is_in_one_place(name):
    proof = PROOFS[name]
    source = (ROOT / f"{proof.mutant.module.replace('.', '/')}.py").read_text()
    assert mutated(proof.mutant, source) != source


@pytest.mark.parametrize("name", PROOFS)
def test_a_proof_can_be_asked(name):
    """Each part that it looks into is there, and there is something to prove and to cover."""
    text = netlist.netlist(PROOFS[name])
    assert '"assert"' in text and '"cover"' in text


def test_every_proof_has_its_own_statement():
    assert len({proof.statement for proof in PROOFS.values()}) == len(PROOFS)
    assert all(proof.source for proof in PROOFS.values())
    for proof in PROOFS.values():
        assert (ROOT / f"{proof.module.replace('.', '/')}.py").exists()


def test_a_mutant_is_in_the_netlist(tmp_path):
    proof = PROOFS["buffered-words-hold-4"]
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
def test_a_mutant_that_is_not_in_one_place_is_refused(source):
    mutant = Mutant(module="hdl.queues.modulo", before="x", after="y")
    with pytest.raises(MutantError, match=r"occurs \d times in hdl.queues.modulo: must be once"):
        mutated(mutant, source)


def test_a_mutant_that_comes_too_late_is_refused():
    with pytest.raises(MutantError, match=r"hdl.fifo has been imported already"):
        install(Mutant(module="hdl.fifo", before="x", after="y"))


@pytest.mark.parametrize(
    "changes, text",
    [
        ({"method": "hope"}, "method is 'hope'"),
        ({"depth": 0}, "depth is 0: must be 1 or more"),
        ({"cover_depth": -1}, "cover_depth is -1"),
    ],
)
def test_a_proof_that_is_none_is_refused(changes, text):
    with pytest.raises(ValueError, match=text):
        a_proof(**changes)


def test_a_signal_that_is_not_there_is_named():
    part = Harness().add("buffer", StreamFifo(8, depth=4))
    assert len(part.inside("level")) == 3
    with pytest.raises(KeyError, match=r"0 signals are buffer.depth: must be one"):
        part.inside("depth")


def test_inputs_are_free_but_for_those_that_are_driven():
    class Both(wiring.Component):
        i: In(stream.Signature(3))
        more: In(2)
        o: Out(1)

        def elaborate(self, platform):
            return Module()

    harness = Harness()
    harness.add("both", Both(), driven=["i"])
    assert [signal.name for signal in harness.inputs] == ["clk", "both_more"]
    with pytest.raises(ValueError, match="both_more is the name of two inputs"):
        harness.free(1, "both_more")


GOOD = {"prove": ("PASS", 1.0), "cover": ("PASS", 0.5), "refute": ("FAIL", 0.25)}


def test_a_good_proof_is_told():
    entry, failures = command.judge(a_proof(), GOOD)
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
        ("cover", "FAIL", "what has to be possible is not"),
        ("refute", "PASS", "its mutant passes"),
        ("refute", "TIMEOUT", "its mutant passes"),
    ],
)
def test_what_is_wrong_fails_the_command(monkeypatch, tmp_path, capsys, kind, found, text):
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


def test_a_solver_that_fails_fails_the_command(monkeypatch, tmp_path):
    def broken(proof, folder):
        raise solver.SolverError("no netlist for count-is-never-12")

    for name in GOOD:
        monkeypatch.setattr(solver, name, broken)
    monkeypatch.setattr(solver, "warm_up", lambda: 0.0)
    monkeypatch.setattr(solver, "versions", dict)
    assert command.run_proofs([a_proof()], folder=tmp_path) == 1
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["proofs"] == [] and len(report["failures"]) == 3


def test_what_is_proven_can_be_listed(capsys):
    assert main(["--list"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in PROOFS)


def test_the_solver_finds_out(monkeypatch, tmp_path):
    """Counting up to 12 takes 12 cycles; three steps of induction do not tell."""
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
