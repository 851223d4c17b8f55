# SPDX-License-Identifier: BSD-2-Clause
"""``python -m figures``: docs/figures.md from the latest reports, or these against it.

The figures in the README are made of it along with it.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from sim.build import BUILD_ROOT

from .compare import losses
from .document import DOCUMENT, render
from .readme import README, with_summary

COMMANDS = ("formal", "bench", "synth")


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and do it. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m figures", description=__doc__)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument(
        "--write", action="store_true", help=f"make {DOCUMENT} and the figures in {README}"
    )
    action.add_argument("--check", action="store_true", help=f"fail on losses against {DOCUMENT}")
    options = parser.parse_args(arguments)
    reports: dict[str, Any] = {}
    for name in COMMANDS:
        path = BUILD_ROOT / name / "report.json"
        if not path.exists():
            print(f"{path} is not there: run make {name} first", file=sys.stderr)
            return 1
        reports[name] = json.loads(path.read_text())
    if options.write:
        DOCUMENT.write_text(render(reports))
        README.write_text(with_summary(README.read_text(), DOCUMENT.read_text()))
        print(DOCUMENT, README)
        return 0
    found = losses(reports, Path(DOCUMENT).read_text())
    for loss in found:
        print(f"lost: {loss}")
    if not found:
        print(f"nothing lost against {DOCUMENT}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
