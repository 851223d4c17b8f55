# SPDX-License-Identifier: BSD-2-Clause
"""Prints events of a simulation in the terminal, a line each: messages, interrupts, remarks.

An event may carry a guest's words: each part of a line passes through :func:`sim.shown.styled`.
"""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.rule import Rule
from rich.table import Table

from models.bus import Direction

from .shown import styled

STAMP_WIDTH = 14
ARROWS = {
    Direction.TO_DEVICE.value: ("driver ─► device", "cyan"),
    Direction.TO_DRIVER.value: ("driver ◄─ device", "green"),
}


class EventPrinter:
    """Prints each event: one of kind ``x`` goes to the method ``_x``, with its facts by name.

    Parameters
    ----------
    console
        The terminal.
    several
        Whether there are several FIFOs, so that each line must say which.
    """

    def __init__(self, console: Console, *, several: bool = False) -> None:
        self.console = console
        self._several = several

    def tell(self, event: dict[str, Any]) -> None:
        """Print one event."""
        facts = dict(event)
        kind = facts.pop("kind")
        getattr(self, f"_{kind}")(**facts)

    def _line(self, time_ns: float | None, *parts: tuple[str, str]) -> None:
        stamp = "" if time_ns is None else f"{time_ns / 1000:9.3f} µs"
        line = Table.grid(padding=(0, 1), expand=False)
        line.add_column(width=STAMP_WIDTH - 1, style="dim")
        for _ in parts[:-1]:
            line.add_column(no_wrap=True)
        line.add_column(overflow="fold")
        # A guest may print tabs, whose width rich does not know.
        line.add_row(stamp, *(styled((text.expandtabs(), style)) for text, style in parts))
        self.console.print(line)

    def _chapter(self, title: str, text: str) -> None:
        self.console.print()
        self.console.print(Rule(styled(title), align="left"))
        self.console.print(styled((text, "italic")))

    def _untold(self, messages: int) -> None:
        self._line(None, (f"… and {messages} messages more, which are in the trace", "dim"))

    def _message(self, time_ns: float, direction: str, fifo: int, text: str) -> None:
        where = f"fifo {fifo}" if self._several else ""
        self._line(time_ns, ARROWS[direction], (where, "dim"), (text, ""))

    def _interrupt(self, time_ns: float, vector: int) -> None:
        self._line(time_ns, (f"  host ◄─ MSI-X  vector {vector}", "yellow"))

    def _note(self, text: str) -> None:
        self._line(None, (text, "bold"))
