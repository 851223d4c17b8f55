# SPDX-License-Identifier: BSD-2-Clause
"""A run with a QEMU and a server that are none: what they say, and how they end."""

from __future__ import annotations

import json
import queue
import time

import pytest
from guest_fakes import program
from guest_runs import CONFIGURATION, SEED, good_events
from rich.console import Console

from models.bus import Direction
from sim.lab.demo.data import TYPED
from sim.vm.guest import session as session_module
from sim.vm.guest.facts import CONSOLE_LINE
from sim.vm.guest.fetch_qemu import Qemu
from sim.vm.guest.report import GuestReport, HostRecord
from sim.vm.guest.session import GuestSession
from sim.vm.guest.story import GuestTeller

# Writes to the second serial port, as QEMU would, what the guest tells.
QEMU = """#!/bin/sh
for word in "$@"; do
  case "$word" in *path=/dev/fd/*) results="/dev/fd/${{word##*/}}" ;; esac
done
exec 9>"$results"
cat {events} >&9
{then}
"""


class Server:
    """A server that says what it was given, and ends when it is told to."""

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
    """Runs a session; the result is what was told, what was seen, and the server."""

    def run(events, server=None, then="", timeout_s=5.0, raw=None):
        lines = "".join(json.dumps(event) + "\n" for event in events) if raw is None else raw
        (tmp_path / "events").write_text(lines)
        text = QEMU.format(events=tmp_path / "events", then=then)
        qemu = Qemu((str(program(tmp_path, "qemu", text)),), "fake")
        server = server or Server([])
        told, witness = GuestReport(), HostRecord(CONFIGURATION, SEED)
        with (tmp_path / "terminal").open("w") as terminal:
            teller = GuestTeller(Console(file=terminal, width=100))
            session = GuestSession(server, teller, told, witness, tmp_path, timeout_s=timeout_s)
            session.run(qemu, tmp_path / "kernel", tmp_path / "initrd", "append")
        return session, told, witness, server

    return run


def test_everything_is_noted_and_told(run, tmp_path):
    session, told, witness, _ = run(good_events())
    assert witness.problems == [] and told.all("done") and session.boot_s is not None
    assert len(told.random_bytes) == 4096
    assert (tmp_path / "results.jsonl").read_text() == (tmp_path / "events").read_text()
    text = (tmp_path / "terminal").read_text()
    assert "0000:00:01.0 10ee:9039 class 088000 rev 1" in text
    assert "MSI-X at 0x50, 2 vector(s)" in text and "entropy" in text


def test_the_host_answers_the_consoles_line_once(run):
    first, second = CONSOLE_LINE[:7], CONSOLE_LINE[7:]
    events = [
        {"kind": "console", "fifo": 0, "dev_num": 2, "text": text}
        for text in (first, second, "more\n")
    ]
    _, _, witness, server = run(good_events(), Server(events))
    assert server.typed == [TYPED.decode()]
    assert witness.printed == CONSOLE_LINE + "more\n" and witness.problems == []


def test_messages_are_shown_up_to_a_number(run, tmp_path):
    direction = Direction.TO_DEVICE.value
    message = {"kind": "message", "time_ns": 1.0, "direction": direction, "fifo": 0, "text": "m"}
    run([], Server([message] * 9), then="sleep 0.2")
    text = (tmp_path / "terminal").read_text()
    assert text.count("driver ─► device") == 4 and "and 5 more messages" in text


def test_what_waits_is_bounded_and_all_of_it_is_told(run, monkeypatch):
    """Readers wait for the story; at the end nothing that they have is lost."""
    monkeypatch.setattr(session_module, "MOST_WAITING", 3)
    monkeypatch.setattr(session_module, "KEPT_CHARACTERS", 8)
    console = {"kind": "console", "fifo": 0, "dev_num": 2}
    events = [{**console, "text": f"{number:03}\n"} for number in range(200)]
    _, told, witness, _ = run([{"event": "step"}] * 200 + good_events(), Server(events))
    assert len(told.all("step")) == 200 and told.all("done")
    assert witness.printed == "198\n199\n"


def test_an_error_of_the_server_is_a_problem(run):
    _, _, witness, _ = run(good_events(), Server([{"kind": "error", "text": "unmapped"}]))
    assert witness.problems == ["server: unmapped"]


def test_a_guest_that_does_not_end_is_ended(run):
    started = time.monotonic()
    _, _, witness, _ = run([], then="exec sleep 60", timeout_s=0.3)
    assert witness.problems == ["the guest did not end within 0.3 s"]
    assert time.monotonic() - started < 5


def test_a_server_that_ends_first_is_a_problem(run):
    _, _, witness, _ = run([], Server([], ends=True), then="exec sleep 60")
    assert witness.problems == ["the server ended before the guest"]


def test_a_qemu_that_fails_shows_its_last_words(run):
    _, _, witness, _ = run([], then="echo 'no such device' >&2; exit 3")
    assert witness.problems == ["QEMU ended with status 3\nno such device"]


def test_a_guest_that_ends_early_shows_its_console(run):
    _, _, witness, _ = run(good_events()[:3], then="echo 'Kernel panic'")
    assert witness.problems == ["the guest's console ends with\nKernel panic"]


def test_what_is_no_event_is_a_failure(run):
    _, told, _, _ = run([], raw='{"event": "booted"}\nnonsense\n[1]\n')
    assert told.failure is not None and "not an event: 'nonsense" in told.failure
    assert len(told.all("failed")) == 2
