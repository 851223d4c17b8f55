# SPDX-License-Identifier: BSD-2-Clause
"""``python -m figures``: record the figures of the latest reports, or compare with the record.

``docs/figures.md`` is rendered from the recorded figures.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from sim.build import BUILD_ROOT

from .baseline import BASELINE, dump, from_reports, load
from .compare import losses
from .document import DOCUMENT, render

COMMANDS = ("formal", "bench", "synth")


class ReportError(RuntimeError):
    """A report is missing; the message names the command that writes it."""


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and run the action; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m figures", description=__doc__)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument(
        "--write", action="store_true", help=f"record the latest reports in {BASELINE} and render"
    )
    action.add_argument("--render", action="store_true", help=f"render {DOCUMENT}")
    action.add_argument("--check", action="store_true", help=f"fail on losses against {BASELINE}")
    options = parser.parse_args(arguments)
    try:
        if options.check:
            return _check()
        if options.write:
            BASELINE.write_text(dump(from_reports(_reports())))
    except ReportError as error:
        print(error, file=sys.stderr)
        return 1
    DOCUMENT.write_text(render(load(BASELINE)))
    print(DOCUMENT)
    return 0


def _check() -> int:
    found = losses(_reports(), load(BASELINE))
    for loss in found:
        print(f"lost: {loss}")
    if not found:
        print(f"nothing lost against {BASELINE}")
    return 1 if found else 0


def _reports() -> dict[str, Any]:
    reports: dict[str, Any] = {}
    for name in COMMANDS:
        path = BUILD_ROOT / name / "report.json"
        if not path.exists():
            raise ReportError(f"{path} does not exist: run make {name} first")
        reports[name] = json.loads(path.read_text())
    return reports


if __name__ == "__main__":
    sys.exit(main())
