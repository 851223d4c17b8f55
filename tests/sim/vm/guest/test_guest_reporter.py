# SPDX-License-Identifier: BSD-2-Clause
"""A guest's events are printed without markup and control characters, with facts of any type."""

from __future__ import annotations

import io

import pytest
from guest_runs import good_events, good_record, guest_report
from rich.console import Console

from sim.vm.guest.report import make_report
from sim.vm.guest.reporter import GuestReporter, brief

HOSTILE = "[/]\x1b[2J[bold]\u202e"
SHOWN = "[/]\\x1b[2J[bold]\\u202e"


@pytest.fixture
def terminal():
    return io.StringIO()


@pytest.fixture
def reporter(terminal):
    return GuestReporter(Console(file=terminal, width=200, force_terminal=True, no_color=True))


def test_step_name_is_escaped(reporter, terminal):
    reporter.guest({"event": "step", "step": HOSTILE})
    reporter.guest({"event": "step"})
    assert SHOWN in terminal.getvalue() and "\x1b[2J" not in terminal.getvalue()


def test_facts_are_escaped(reporter, terminal):
    reporter.guest({"event": HOSTILE, HOSTILE: HOSTILE})
    reporter.server({"kind": "error", "text": HOSTILE})
    assert terminal.getvalue().count(SHOWN) == 4 and "\x1b[2J" not in terminal.getvalue()


def test_figures_are_escaped(reporter, terminal):
    events = [
        {**event, "kernel": HOSTILE} if event["event"] == "booted" else event
        for event in good_events()
    ]
    events.append({"event": "rates", "mmio_reads_per_s": HOSTILE, "mmio_writes_per_s": None})
    report = make_report(guest_report(events), good_record())
    reporter.figures({**report, "qemu": "11", "boot_s": 1.0, "wall_s": 2.0})
    assert terminal.getvalue().count(SHOWN) == 2 and "\x1b[2J" not in terminal.getvalue()


@pytest.mark.parametrize("kind", ["function", "bar", "capability", "device"])
def test_event_with_missing_facts_is_listed(kind):
    assert brief(kind, {"id": [], "size": "large"}) == "id [], size large"
