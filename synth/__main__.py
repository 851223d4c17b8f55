# SPDX-License-Identifier: BSD-2-Clause
"""``python -m synth``: area and frequency of the gateware."""

from __future__ import annotations

import argparse
import os
import sys

from .command import run_synthesis
from .designs import DESIGNS
from .limits import HEADLINES, with_references


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and run the synthesis; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m synth", description=__doc__)
    parser.add_argument(
        "--headline",
        action="store_true",
        help="only the designs with limits that CI holds, on the slowest ECP5",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="DESIGN",
        choices=[design.name for design in DESIGNS],
        help="these designs, and those to which their limits are relative",
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="designs in parallel")
    options = parser.parse_args(arguments)
    if options.jobs < 1:
        parser.error(f"--jobs is {options.jobs}: must be 1 or more")
    designs = HEADLINES if options.headline else DESIGNS
    if options.only:
        designs = with_references(design for design in DESIGNS if design.name in options.only)
    return run_synthesis(designs, headline=options.headline, jobs=options.jobs)


if __name__ == "__main__":
    sys.exit(main())
