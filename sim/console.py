# SPDX-License-Identifier: BSD-2-Clause
"""The terminal, or what stands in for one."""

from __future__ import annotations

from rich.console import Console

__all__ = ["INTERRUPTED", "WIDTH", "console"]

INTERRUPTED = 130
"""Exit status of a command that was ended before it was done."""
WIDTH = 120
"""Columns where there is no terminal to tell: as many as the widest table takes."""


def console() -> Console:
    """Where a command tells of its doings."""
    terminal = Console(highlight=False)
    return terminal if terminal.is_terminal else Console(highlight=False, width=WIDTH)
