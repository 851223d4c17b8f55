# SPDX-License-Identifier: BSD-2-Clause
"""Console output is joined into lines of text, in any split of its bytes."""

import io
import itertools
import os
import random
from types import SimpleNamespace

import pytest
from rich.console import Console

from sim.run import new_seed
from sim.vm.bridge.files import BlockingReadiness, run_alone
from sim.vm.serve.command import ServePrinter
from sim.vm.serve.console_text import LONGEST_LINE, LONGEST_WAIT_S, PATIENCE_S, ConsoleText
from sim.vm.serve.service import Service

TEXT = "temperature: 21 °C\nnaïve 😀 €\n\nlast\n"


class Clock:
    """A clock that the test advances."""

    def __init__(self):
        self.time = 100.0

    def __call__(self):
        return self.time


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def shown():
    return []


@pytest.fixture
def text(shown, clock):
    return ConsoleText(shown.append, now=clock)


def test_text_split_at_any_byte_is_joined():
    data = TEXT.encode()
    for cut in range(len(data) + 1):
        shown = []
        text = ConsoleText(shown.append)
        text(data[:cut])
        text(data[cut:])
        assert shown == TEXT.splitlines(keepends=True), cut


@pytest.mark.parametrize("size", [1, 2, 3, 16])
def test_text_in_pieces_of_any_size_is_joined(size, text, shown):
    data = TEXT.encode()
    for at in range(0, len(data), size):
        text(data[at : at + size])
    assert shown == TEXT.splitlines(keepends=True)


def test_only_a_line_feed_ends_a_line(text, shown):
    line = "a\x0bb\x0cc\x1cd\x85e\u2028f\r"
    text(f"{line}\n".encode())
    assert shown == [f"{line}\n"]


def test_prompt_is_shown_after_timeout(text, shown, clock):
    text(b"log")
    clock.time += PATIENCE_S / 2
    text(b"in: ")
    clock.time += 0.9 * PATIENCE_S
    text.show_due()
    assert shown == [] and text.due_in() == pytest.approx(0.1 * PATIENCE_S)
    clock.time += 0.2 * PATIENCE_S
    text.show_due()
    assert shown == ["login: "] and text.due_in() is None
    text(b"root\n")
    assert shown == ["login: ", "root\n"]


def test_growing_line_is_shown_in_parts(text, shown, clock):
    for _ in range(20):
        text(b".")
        clock.time += LONGEST_WAIT_S / 10
    assert len(shown) == 1 and set(shown[0]) == {"."}


def test_late_piece_starts_another_line(text, shown, clock):
    """Also if ``show_due`` was not called in between."""
    text(b"login: ")
    clock.time += PATIENCE_S
    text(b"root\n")
    assert shown == ["login: ", "root\n"]


def test_incomplete_character_waits_for_its_rest(text, shown, clock):
    text(b"21 \xc2")
    clock.time += PATIENCE_S
    text.show_due()
    text(b"\xb0C\n")
    assert shown == ["21 ", "°C\n"]


def test_invalid_utf8_is_replaced(text, shown):
    text(b"a\xffb\xe2\x82\n")
    assert shown == ["a\ufffdb\ufffd\n"]


def test_end_flushes_unfinished_line(text, shown):
    text(b"half a li\xc3")
    text.end()
    text(b"\xa9t\n")
    text.end()
    assert shown == ["half a li\ufffd", "\ufffdt\n"]


def test_length_of_unfinished_line_is_limited(text, shown):
    for _ in range(100):
        text(b"x" * 1000)
    assert [len(line) for line in shown] == [LONGEST_LINE] * (100_000 // LONGEST_LINE)


def test_characters_are_shown_once_and_in_order():
    seed = new_seed()
    print(f"seed {seed}")
    generator = random.Random(seed)
    for _ in range(200):
        clock, shown = Clock(), []
        text = ConsoleText(shown.append, now=clock)
        written = "".join(generator.choices("a°€😀\n\t\x1b", k=200))
        data = written.encode()
        cuts = sorted(generator.choices(range(len(data)), k=20))
        for start, end in itertools.pairwise([0, *cuts, len(data)]):
            text(data[start:end])
            clock.time += generator.choice((0, 0.05, 0.3))
            if generator.random() < 0.3:
                text.show_due()
        text.end()
        assert "".join(shown) == written
        assert all("\n" not in line[:-1] for line in shown)


@pytest.fixture
def terminal():
    return io.StringIO()


def listener(terminal, fifo=0, number=2, several=False):
    """The observer of a console device, connected to a terminal."""
    printer = ServePrinter(Console(file=terminal, width=120), several=several)
    channel = SimpleNamespace(
        send_event=lambda kind, **facts: printer.print_event({"kind": kind, **facts})
    )
    return Service._make_console_text(SimpleNamespace(_channel=channel), fifo, number)


def test_line_in_two_pieces_is_printed_once(terminal):
    observer = listener(terminal)
    data = "temperature: 21 °C\n".encode()
    observer(data[:17])
    observer(data[17:])
    assert terminal.getvalue().split() == ["console", "2", "temperature:", "21", "°C"]
    assert terminal.getvalue().count("\n") == 1


def test_lines_of_two_consoles_are_separate(terminal):
    one, other = (listener(terminal, fifo, 2, several=True) for fifo in (0, 1))
    for letter, twin in zip("ab\xe9\n", "xy\xe8\n", strict=True):
        one(letter.encode())
        other(twin.encode())
    assert [line.split() for line in terminal.getvalue().splitlines()] == [
        ["fifo", "0", "console", "2", "abé"],
        ["fifo", "1", "console", "2", "xyè"],
    ]


def test_guest_output_is_escaped_on_terminal(terminal):
    observer = listener(terminal)
    observer(b"[bold]\x1b[2J[/]\x07 \xc2\x9b1m \xe2\x80\xaeabc :skull:\ttab\r\n")
    (line,) = terminal.getvalue().splitlines()
    assert line.split()[2:] == [
        "[bold]\\x1b[2J[/]\\x07",
        "\\x9b1m",
        "\\u202eabc",
        ":skull:",
        "tab",
    ]


def test_reminder_shows_prompt(shown):
    """At most one reminder is pending, with any number of lines."""
    reading, writing = os.pipe()
    readiness, text = BlockingReadiness(), ConsoleText(shown.append)
    text.call_later = readiness.call_later
    for number in range(100):
        text(b"line %d\nlog" % number)
    text(b"in: ")
    assert len(readiness._timers) == 1
    readiness.call_later(4 * PATIENCE_S, lambda: os.write(writing, b"x"))
    run_alone(readiness.readable(reading))
    assert shown[-1] == "login: " and not readiness._timers
    for file in (reading, writing):
        os.close(file)


def test_reminders_are_called_while_waiting():
    """In order, once each; a file that is ready ends the wait before a later reminder."""
    reading, writing = os.pipe()
    readiness, called = BlockingReadiness(), []
    readiness.call_later(0.06, lambda: os.write(writing, b"x"))
    for name in "ab":
        readiness.call_later(0.03, lambda name=name: called.append(name))
    run_alone(readiness.readable(reading))
    assert called == ["a", "b"]
    readiness.call_later(5, lambda: called.append("late"))
    run_alone(readiness.readable(reading))
    assert called == ["a", "b"]
    for file in (reading, writing):
        os.close(file)
