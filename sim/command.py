# SPDX-License-Identifier: BSD-2-Clause
"""Shared by all commands: report, printed failures, exit status."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from .console import print_plain
from .errors import CommandFailedError
from .shown import shown

__all__ = ["INTERRUPTED", "ReportFolder", "print_failure", "run_command"]

INTERRUPTED = 130
"""Exit status of an interrupted command."""
PROGRAM = "python -m sim"


class ReportFolder:
    """The folder of a command, emptied at its start, and the report in it.

    Parameters
    ----------
    path
        The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)

    @property
    def report(self) -> Path:
        """Path of the report."""
        return self.path / "report.json"

    def write(self, report: Mapping[str, Any]) -> int:
        """Write the report; returns the exit status, 0 if its ``ok`` is true."""
        self.report.write_text(json.dumps(report, indent=2) + "\n")
        return 0 if report["ok"] else CommandFailedError.exit_status

    def print_report_path(self, terminal: Console) -> None:
        """Print the report's path relative to the current folder."""
        terminal.print(f"report: {os.path.relpath(self.report)}", soft_wrap=True)


def print_failure(terminal: Console, heading: str, text: str) -> None:
    """Print a failure: a heading that stands out, and a text that may contain guest text."""
    print_plain(terminal, (heading, "bold red"), f" {text}")


def run_command(command: Callable[[], int]) -> int:
    """Run a command; prints the error that ends it and returns the exit status."""
    try:
        return command()
    except (CommandFailedError, ValueError) as error:
        # A log's last lines may contain guest text.
        text = shown(str(error), keep="\n\t")
        print(f"{PROGRAM}: {text}", file=sys.stderr)
        return getattr(error, "exit_status", CommandFailedError.exit_status)
    except KeyboardInterrupt:
        return INTERRUPTED
