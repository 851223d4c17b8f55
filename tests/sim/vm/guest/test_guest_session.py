# SPDX-License-Identifier: BSD-2-Clause
"""A run with a fake QEMU and a fake server: their events, and their ends."""

from __future__ import annotations

import json
import queue
import time

import pytest
from guest_fakes import program
from guest_runs import CONFIGURATION, SEED, good_events
from rich.console import Console

from models.bus import Direction
from sim.vm.guest import session as session_module
from sim.vm.guest.facts import CONSOLE_LINE
from sim.vm.guest.fetch.qemu import Qemu
from sim.vm.guest.options import GuestOptions
from sim.vm.guest.report import GuestReport, HostRecord
from sim.vm.guest.reporter import GuestReporter
from sim.vm.guest.session import GuestSession
from sim.workload import TYPED

# Writes the guest's events to the second serial port, as QEMU does.
QEMU = """#!/bin/sh
for word in "$@"; do
  case "$word" in *path=/dev/fd/*) results="/dev/fd/${{word##*/}}" ;; esac
done
exec 9>"$results"
cat {events} >&9
{then}
"""


class Server:
    """A server that yields the given events, and ends on request."""

    device_argument = "{}"

    def __init__(self, events, *, ends: bool = False) -> None:
        self.typed: list[str] = []
        self._queue: queue.SimpleQueue = queue.SimpleQueue()
        for event in events:
            self._queue.put(event)
        if ends:
            self._queue.put(None)

    def events(self):
        while (event := self._queue.get()) is not None:
            yield event

    def type(self, text: str) -> None:
        self.typed.append(text)

    def stop(self) -> None:
        self._queue.put(None)


@pytest.fixture
def run(tmp_path):
    """Runs a session; returns it with the guest's report, the host's record and the server."""

    def run(events, server=None, then="", timeout_s=5.0, raw=None):
        lines = "".join(json.dumps(event) + "\n" for event in events) if raw is None else raw
        (tmp_path / "events").write_text(lines)
        text = QEMU.format(events=tmp_path / "events", then=then)
        qemu = Qemu((str(program(tmp_path, "qemu", text)),), "fake")
        server = server or Server([])
        guest_report, record = GuestReport(), HostRecord(CONFIGURATION, SEED)
        with (tmp_path / "terminal").open("w") as terminal:
            reporter = GuestReporter(Console(file=terminal, width=100))
            session = GuestSession(
                server, reporter, guest_report, record, tmp_path, timeout_s=timeout_s
            )
            session.run(qemu, tmp_path / "kernel", tmp_path / "initrd", GuestOptions())
        return session, guest_report, record, server

    return run


def test_guest_events_are_recorded_and_printed(run, tmp_path):
    session, guest_report, record, _ = run(good_events())
    assert record.problems == [] and guest_report.all("done") and session.boot_s is not None
    assert len(guest_report.random_bytes) == 4096
    assert (tmp_path / "results.jsonl").read_text() == (tmp_path / "events").read_text()
    text = (tmp_path / "terminal").read_text()
    assert "0000:00:01.0 10ee:9039 class 088000 rev 1" in text
    assert "MSI-X at 0x50, 2 vector(s)" in text and "entropy" in text


def test_console_line_is_answered_once(run):
    first, second = CONSOLE_LINE[:7], CONSOLE_LINE[7:]
    events = [
        {"kind": "console", "fifo": 0, "dev_num": 2, "text": text}
        for text in (first, second, "more\n")
    ]
    _, _, record, server = run(good_events(), Server(events))
    assert server.typed == [TYPED.decode()]
    assert record.printed == CONSOLE_LINE + "more\n" and record.problems == []


def test_number_of_printed_messages_is_limited(run, tmp_path):
    direction = Direction.TO_DEVICE.value
    message = {"kind": "message", "time_ns": 1.0, "direction": direction, "fifo": 0, "text": "m"}
    run([], Server([message] * 9), then="sleep 0.2")
    text = (tmp_path / "terminal").read_text()
    assert text.count("driver ─► device") == 4 and "and 5 more messages" in text


def test_event_queue_is_bounded_and_loses_nothing(run, monkeypatch):
    """Readers block while the queue is full; no event is lost at the end."""
    monkeypatch.setattr(session_module, "MOST_WAITING", 3)
    monkeypatch.setattr(session_module, "KEPT_CHARACTERS", 8)
    console = {"kind": "console", "fifo": 0, "dev_num": 2}
    events = [{**console, "text": f"{number:03}\n"} for number in range(200)]
    _, guest_report, record, _ = run([{"event": "step"}] * 200 + good_events(), Server(events))
    assert len(guest_report.all("step")) == 200 and guest_report.all("done")
    assert record.printed == "198\n199\n"


def test_server_error_is_problem(run):
    _, _, record, _ = run(good_events(), Server([{"kind": "error", "text": "unmapped"}]))
    assert record.problems == ["server: unmapped"]


def test_guest_is_ended_after_time_limit(run):
    started = time.monotonic()
    _, _, record, _ = run([], then="exec sleep 60", timeout_s=0.3)
    assert record.problems == ["the guest did not end within 0.3 s"]
    assert time.monotonic() - started < 5


def test_early_end_of_server_is_problem(run):
    _, _, record, _ = run([], Server([], ends=True), then="exec sleep 60")
    assert record.problems == ["the server ended before the guest"]


def test_failed_qemu_shows_last_output(run):
    _, _, record, _ = run([], then="echo 'no such device' >&2; exit 3")
    assert record.problems == ["QEMU ended with status 3\nno such device"]


def test_early_end_of_guest_shows_console(run):
    _, _, record, _ = run(good_events()[:3], then="echo 'Kernel panic'")
    assert record.problems == ["the guest's console ends with\nKernel panic"]


def test_invalid_event_is_failure(run):
    _, guest_report, _, _ = run([], raw='{"event": "booted"}\nnonsense\n[1]\n')
    assert guest_report.failure is not None and "not an event: 'nonsense" in guest_report.failure
    assert len(guest_report.all("failed")) == 2
