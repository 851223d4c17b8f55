# SPDX-License-Identifier: BSD-2-Clause
"""The terminal, or what stands in for one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from .shown import styled

__all__ = ["INTERRUPTED", "WIDTH", "console", "list_files", "print_plain"]

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
            print_plain(terminal, f"{name:>14}  {os.path.relpath(path)}")


def print_plain(terminal: Console, *parts: str | tuple[str, str]) -> None:
    """Print lines that may have a guest's words in them; a terminal wraps them by itself.

    Parameters
    ----------
    terminal
        Where to.
    parts
        As :func:`~sim.shown.styled`; line ends are kept.
    """
    terminal.print(styled(*parts, keep="\n\t"), soft_wrap=True, highlight=False)
