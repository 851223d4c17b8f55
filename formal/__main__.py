# SPDX-License-Identifier: BSD-2-Clause
"""``python -m formal``: proofs about the gateware."""

from __future__ import annotations

import argparse
import os
import sys

from .command import run_proofs
from .properties import PROOFS


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and run the proofs; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m formal", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="PROPERTY", choices=list(PROOFS))
    parser.add_argument("--list", action="store_true", help="list the properties and exit")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="solvers in parallel")
    options = parser.parse_args(arguments)
    if options.jobs < 1:
        parser.error(f"--jobs is {options.jobs}: must be 1 or more")
    proofs = [PROOFS[name] for name in options.only or PROOFS]
    if options.list:
        for proof in proofs:
            print(f"{proof.property}: {proof.statement} ({proof.source})")
        return 0
    return run_proofs(proofs, jobs=options.jobs)


if __name__ == "__main__":
    sys.exit(main())
