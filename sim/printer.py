# SPDX-License-Identifier: BSD-2-Clause
"""Prints the events of a simulation in the terminal, one line each: messages, interrupts, notes.

An event may contain guest text, so each part of a line passes through :func:`sim.shown.styled`.
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
    """Prints events. Method ``_x`` prints kind ``x`` and takes the event's keys as arguments.

    Parameters
    ----------
    console
        The terminal.
    several
        There are several FIFOs: print the FIFO number in each line.
    """

    def __init__(self, console: Console, *, several: bool = False) -> None:
        self.console = console
        self._several = several

    def print_event(self, event: dict[str, Any]) -> None:
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
        # Guest text may contain tabs, which rich does not expand.
        line.add_row(stamp, *(styled((text.expandtabs(), style)) for text, style in parts))
        self.console.print(line)

    def _chapter(self, title: str, text: str) -> None:
        self.console.print()
        self.console.print(Rule(styled(title), align="left"))
        self.console.print(styled((text, "italic")))

    def _omitted(self, messages: int) -> None:
        self._line(None, (f"… and {messages} more messages, in the trace", "dim"))

    def _message(self, time_ns: float, direction: str, fifo: int, text: str) -> None:
        where = f"fifo {fifo}" if self._several else ""
        self._line(time_ns, ARROWS[direction], (where, "dim"), (text, ""))

    def _interrupt(self, time_ns: float, vector: int) -> None:
        self._line(time_ns, (f"  host ◄─ MSI-X  vector {vector}", "yellow"))

    def _note(self, text: str) -> None:
        self._line(None, (text, "bold"))
