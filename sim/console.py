# SPDX-License-Identifier: BSD-2-Clause
"""The terminal, or what stands in for one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

__all__ = ["INTERRUPTED", "WIDTH", "console", "list_files"]

INTERRUPTED = 130
"""Exit status of a command that was ended before it was done."""
WIDTH = 120
"""Columns where there is no terminal to tell: as many as the widest table takes."""


def console() -> Console:
    """Where a command tells of its doings."""
    terminal = Console(highlight=False)
    return terminal if terminal.is_terminal else Console(highlight=False, width=WIDTH)


def list_files(terminal: Console, files: Mapping[str, Path | None]) -> None:
    """Say where everything lies, seen from here, which is how people want to type it."""
    for name, path in files.items():
        if path is not None:
            shown = os.path.relpath(path)
            terminal.print(f"{name:>14}  {shown}", soft_wrap=True, highlight=False, markup=False)
