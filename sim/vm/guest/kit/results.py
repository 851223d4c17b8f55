# SPDX-License-Identifier: BSD-2-Clause
"""Results of the battery, as the report and the table have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

from ....console import print_plain
from ....shown import styled

WORDS = {True: ("passed", "green"), False: ("FAILED", "bold red"), None: ("not run", "yellow")}
SHOWN_LINES = 60
"""Lines of one part of a failure that are printed; the report has all."""


@dataclass
class Details:
    """What is known about a failure.

    Attributes
    ----------
    stopped
        Which side stopped first.
    guest
        Output of the test in the guest.
    log
        Lines of the guest's kernel log.
    messages, accesses
        The last messages at the endpoint and accesses by the guest.
    """

    stopped: str = ""
    guest: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    accesses: list[str] = field(default_factory=list)


@dataclass
class Result:
    """Result of a test.

    Attributes
    ----------
    test
        Name.
    ok
        Whether it passed; ``None`` if it was not run, for the reason in ``finding``.
    seconds
        Duration.
    bytes_per_s
        Bytes transferred per second; ``None`` for a test that transfers none.
    interrupts, messages
        MSI-X writes and messages in both directions, during the test.
    finding
        Why it failed, in a line.
    details
        What is known about the failure.
    """

    test: str
    ok: bool | None = None
    seconds: float = 0.0
    bytes_per_s: float | None = None
    interrupts: int = 0
    messages: int = 0
    finding: str | None = None
    details: Details | None = None

    def to_json(self) -> dict[str, Any]:
        """The result as JSON values; details only of a failure."""
        values: dict[str, Any] = {
            "test": self.test,
            "ok": self.ok,
            "seconds": round(self.seconds, 3),
            "bytes_per_s": None if self.bytes_per_s is None else round(self.bytes_per_s),
            "interrupts": self.interrupts,
            "messages": self.messages,
            "finding": self.finding,
        }
        if self.details is not None:
            values["details"] = vars(self.details)
        return values


def print_result(terminal: Console, result: Result) -> None:
    """Print a line for a result."""
    word, style = WORDS[result.ok]
    print_plain(
        terminal,
        (f"{word:<8}", style),
        f"{result.test:<20}{result.seconds:>7.1f} s",
        f"  {result.finding}" if result.finding else "",
    )


def print_failure_details(terminal: Console, result: Result) -> None:
    """Print what is known about a failure."""
    details = result.details
    if details is None:
        return
    print_plain(terminal, (f"\n{result.test}: {result.finding}", "bold red"))
    if details.stopped:
        print_plain(terminal, details.stopped)
    for title, lines in (
        ("What the test printed in the guest", details.guest),
        ("The guest's kernel log", details.log),
        ("The last messages at the endpoint", details.messages),
        ("The guest's last accesses", details.accesses),
    ):
        if lines:
            print_plain(terminal, (title, "bold"))
            for line in lines[-SHOWN_LINES:]:
                print_plain(terminal, f"  {line}")


def print_table(terminal: Console, results: Sequence[Result]) -> None:
    """Print the table of all results."""
    table = Table(title="Battery", title_justify="left")
    table.add_column("test", style="bold")
    table.add_column("result")
    for name in ("seconds", "bytes/s", "interrupts", "messages"):
        table.add_column(name, justify="right")
    for result in results:
        word, style = WORDS[result.ok]
        rate = "" if result.bytes_per_s is None else f"{result.bytes_per_s:,.0f}"
        table.add_row(
            result.test,
            styled((word, style)),
            *(f"{result.seconds:,.1f}", rate, f"{result.interrupts:,}", f"{result.messages:,}"),
        )
    terminal.print()
    terminal.print(table)


def summary(results: Sequence[Result]) -> Mapping[str, int]:
    """Number of tests that passed, failed and were not run."""
    return {
        "passed": sum(result.ok is True for result in results),
        "failed": sum(result.ok is False for result in results),
        "not_run": sum(result.ok is None for result in results),
    }
