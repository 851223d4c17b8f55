# SPDX-License-Identifier: BSD-2-Clause
"""The terminal that commands print on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from .shown import styled

__all__ = ["INTERRUPTED", "WIDTH", "console", "list_files", "print_plain"]

INTERRUPTED = 130
"""Exit status of an interrupted command."""
WIDTH = 120
"""Columns of output that is not a terminal: the widest table fits."""


def console() -> Console:
    """The console that a command prints on."""
    terminal = Console(highlight=False)
    return terminal if terminal.is_terminal else Console(highlight=False, width=WIDTH)


def list_files(terminal: Console, files: Mapping[str, Path | None]) -> None:
    """Print each file's path relative to the current folder, so that it can be pasted."""
    for name, path in files.items():
        if path is not None:
            print_plain(terminal, f"{name:>14}  {os.path.relpath(path)}")


def print_plain(terminal: Console, *parts: str | tuple[str, str]) -> None:
    """Print lines that may contain guest text; the terminal wraps them.

    Parameters
    ----------
    terminal
        The terminal.
    parts
        As in :func:`~sim.shown.styled`; line ends are kept.
    """
    terminal.print(styled(*parts, keep="\n\t"), soft_wrap=True, highlight=False)
