# SPDX-License-Identifier: BSD-2-Clause
"""``python -m formal.netlist PROPERTY FILE``: write the harness of a proof as RTLIL.

It runs in a separate process because a mutant must be applied before the gateware is imported.
Standard input is the mutant as JSON, or empty.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

from amaranth.back import rtlil

from .harness import Harness
from .proof import Mutant, Proof

__all__ = ["TOP", "netlist"]

TOP = "harness"


def netlist(proof: Proof) -> str:
    """RTLIL of the proof's harness."""
    harness = Harness()
    proof.harness(harness)
    return str(rtlil.convert(harness.m, name=TOP, ports=harness.inputs))


def main(arguments: list[str]) -> None:
    """Write the netlist of the property named first to the file named second."""
    name, file = arguments
    mutant = sys.stdin.read()
    if mutant:
        from .mutate import install

        install(Mutant(**json.loads(mutant)))
    properties = importlib.import_module("formal.properties")
    Path(file).write_text(netlist(properties.PROOFS[name]))


if __name__ == "__main__":
    main(sys.argv[1:])
