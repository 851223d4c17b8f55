# SPDX-License-Identifier: BSD-2-Clause
"""Guest text of any bytes reaches the operator's terminal as text."""

import io

import pytest
from rich.console import Console

from models.bus import Direction
from sim.console import print_plain
from sim.printer import EventPrinter
from sim.shown import shown, styled

TO_DEVICE = Direction.TO_DEVICE.value
CONTROLS = [*map(chr, range(0x20)), "\x7f", *map(chr, range(0x80, 0xA0))]
BIDI = [*"\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"]
HIDDEN = [*"\u200b\u2028\u2029\ufeff", "\U000e0041", "\ud800"]
MARKUP = ["[bold]", "[/]", "[/nothing]", "[link=file:///]x[/link]", ":skull:", "\\[x]", "[", "x\\"]


@pytest.mark.parametrize("character", [*CONTROLS, *BIDI, *HIDDEN], ids=ascii)
def test_control_character_becomes_escape(character):
    text = shown(f"a{character}b")
    assert text.isascii() and text.isprintable() and text != "ab"
    assert text.startswith("a\\") and text.endswith(f"{ord(character):x}b")


def test_printable_text_is_unchanged():
    text = "temperature: 21 °C, naïve, 温度, עברית, e\u0301, 😀, \u00a0"
    assert shown(text) == text


def test_only_kept_characters_are_unchanged():
    assert shown("a\tb\n\x1b", keep="\t") == "a\tb\\x0a\\x1b"


@pytest.mark.parametrize("text", MARKUP)
def test_text_is_not_markup(text):
    out = io.StringIO()
    terminal = Console(file=out, force_terminal=True, width=80, color_system="truecolor")
    print_plain(terminal, text)
    assert out.getvalue() == f"{text}\n"
    assert styled((text, "bold")).plain == text


@pytest.mark.parametrize("text", [*MARKUP, "\x1b]0;title\x07", "\x9b2J", "\u202eabc"])
@pytest.mark.parametrize("kind", ["note", "chapter", "message"])
def test_event_text_is_printed_without_markup(kind, text):
    out = io.StringIO()
    printer = EventPrinter(Console(file=out, width=80))
    facts = {
        "note": {"text": text},
        "chapter": {"title": text, "text": text},
        "message": {"time_ns": 1.0, "direction": TO_DEVICE, "fifo": 0, "text": text},
    }[kind]
    printer.print_event({"kind": kind, **facts})
    lines = out.getvalue().splitlines()
    assert sum(shown(text) in line for line in lines) == (2 if kind == "chapter" else 1)
    assert all(line.isprintable() for line in lines)
