# SPDX-License-Identifier: BSD-2-Clause
"""The terminal that commands print on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.status import Status

from .shown import styled

__all__ = ["WIDTH", "building", "console", "list_files", "print_plain"]

WIDTH = 120
"""Columns of output that is not a terminal: the widest table fits."""


def console() -> Console:
    """The console that a command prints on."""
    terminal = Console(highlight=False)
    return terminal if terminal.is_terminal else Console(highlight=False, width=WIDTH)


def building(terminal: Console) -> Status:
    """Show, during the context, that the gateware is being built."""
    return terminal.status("building the gateware: Amaranth to Verilog to a simulation ...")


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
