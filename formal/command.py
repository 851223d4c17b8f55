# SPDX-License-Identifier: BSD-2-Clause
"""``python -m formal``: run the proofs and their mutants, print a table, write the report."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from rich.table import Table

from sim.build import BUILD_ROOT
from sim.console import console as wide_console
from sim.toolchain import add_own_programs

from . import solver
from .proof import Proof

__all__ = ["report_entry", "run_proofs"]

Solve = Callable[[Proof, Path], tuple[str, float]]

RESULTS = {
    "PASS": "proven",
    "FAIL": "refuted",
    "UNKNOWN": "induction fails",
    "TIMEOUT": "out of time",
}


def report_entry(
    proof: Proof, results: Mapping[str, tuple[str, float]]
) -> tuple[dict[str, Any], list[str]]:
    """Report entry of a proof, and one line for each failure.

    Parameters
    ----------
    results
        Result and seconds of the runs ``prove``, ``cover`` and ``refute``.
    """
    result = RESULTS[results["prove"][0]]
    entry = {
        "property": proof.property,
        "statement": proof.statement,
        "source": proof.source,
        "module": proof.module,
        "method": proof.method,
        "depth": proof.depth,
        "result": result,
        "seconds": round(sum(seconds for _, seconds in results.values()), 1),
        "covered": results["cover"][0] == "PASS",
        "mutant_rejected": results["refute"][0] == "FAIL",
    }
    failures = []
    if result != "proven":
        failures.append(f"{proof.property}: {result}")
    if not entry["covered"]:
        failures.append(f"{proof.property}: a cover statement is not reached")
    if not entry["mutant_rejected"]:
        failures.append(f"{proof.property}: its mutant is not rejected")
    return entry, failures


def run_proofs(
    proofs: Sequence[Proof], *, jobs: int = 1, folder: Path = BUILD_ROOT / "formal"
) -> int:
    """Run ``proofs`` and write ``report.json`` to ``folder``.

    Parameters
    ----------
    jobs
        Solver runs in parallel.

    Returns
    -------
    int
        Exit status: 0 if every property is proven, every cover statement is reached, and every
        mutant is rejected.
    """
    add_own_programs()
    console = wide_console()
    folder.mkdir(parents=True, exist_ok=True)
    console.print("Yosys is WebAssembly: compiling it at the first use takes about a minute.")
    seconds = solver.warm_up()
    console.print(f"Yosys is ready after {seconds:.0f} s.")

    runs: dict[str, Solve] = {
        "prove": solver.prove,
        "cover": solver.cover,
        "refute": solver.refute,
    }
    results: dict[str, dict[str, tuple[str, float]]] = {proof.property: {} for proof in proofs}
    entries: list[dict[str, Any]] = []
    failures: list[str] = []
    with ThreadPoolExecutor(jobs) as pool:
        tasks = {
            pool.submit(run, proof, folder / proof.property / kind): (proof, kind)
            for proof in proofs
            for kind, run in runs.items()
        }
        for task in as_completed(tasks):
            proof, kind = tasks[task]
            try:
                results[proof.property][kind] = task.result()
            except solver.SolverError as error:
                failures.append(str(error))
                console.print(f"[bold red]{error}[/]")
                continue
            if len(results[proof.property]) == len(runs):
                entry, entry_failures = report_entry(proof, results[proof.property])
                entries.append(entry)
                failures += entry_failures
                console.print(f"  {_summary(entry, entry_failures)}")

    names = [proof.property for proof in proofs]
    entries.sort(key=lambda entry: names.index(entry["property"]))
    report = {
        "ok": not failures,
        "failures": failures,
        "tools": solver.versions(),
        "proofs": entries,
    }
    path = folder / "report.json"
    path.write_text(json.dumps(report, indent=2) + "\n")
    console.print(_table(entries))
    for failure in failures:
        console.print(f"[bold red]failed:[/] {failure}")
    console.print(f"report: {os.path.relpath(path)}", soft_wrap=True)
    return 0 if report["ok"] else 1


def _summary(entry: Mapping[str, Any], entry_failures: Sequence[str]) -> str:
    if entry_failures:
        return f"[bold red]{'; '.join(entry_failures)}[/]"
    return f"{entry['property']}: {entry['result']}, mutant rejected, {entry['seconds']:.0f} s"


def _table(entries: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None)
    for column in ("property", "module", "method"):
        table.add_column(column, no_wrap=True)
    for column in ("depth", "s"):
        table.add_column(column, justify="right")
    table.add_column("result")
    for entry in entries:
        table.add_row(
            entry["property"],
            entry["module"],
            entry["method"],
            str(entry["depth"]),
            f"{entry['seconds']:.0f}",
            entry["result"]
            if entry["mutant_rejected"]
            else f"{entry['result']}, mutant not rejected",
        )
    return table
