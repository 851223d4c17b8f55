# SPDX-License-Identifier: BSD-2-Clause
"""The terminal shared by the guest's serial port and the virtio consoles."""

from __future__ import annotations

import os
import pty
import threading

import pytest

from sim.vm.guest.terminal import KeySwitch, Terminal


@pytest.fixture
def keys():
    """A key switch, and what it passed on: bytes, texts and states."""
    passed: list[object] = []
    return KeySwitch(passed.append, passed.append, passed.append), passed


def test_text_goes_to_serial_port_by_default(keys):
    switch, passed = keys
    switch.feed("é\r".encode())
    assert b"".join(passed) == "é\r".encode()


def test_key_switches_to_console_and_back(keys):
    switch, passed = keys
    switch.feed(b"a\x01vb\r" + "é".encode() + b"\x01Vc")
    assert [item for item in passed if item != ""] == [b"a", True, "b", "\n", "é", False, b"c"]


def test_other_keys_after_escape_are_qemus(keys):
    switch, passed = keys
    for piece in (b"\x01", b"x\x01\x01", b"\x01v", b"\x01h"):
        switch.feed(piece)
    assert passed == [b"\x01x", b"\x01\x01", True, b"\x01h"]


def test_terminal_is_raw_while_machine_runs(monkeypatch, capsys):
    controller, line = pty.openpty()
    saved, typed = os.dup(0), []
    received = threading.Event()

    def serial(data: bytes) -> None:
        typed.append(data)
        if len(typed) == 3:
            received.set()

    try:
        os.dup2(line, 0)
        terminal = Terminal(lambda text: None)
        thread = threading.Timer(0.2, lambda: os.write(controller, b"\x03q\r"))
        thread.start()
        terminal.run(serial, lambda: not received.is_set())
        thread.join()
    finally:
        os.dup2(saved, 0)
        for number in (saved, controller, line):
            os.close(number)
    # Not a signal, not a line feed.
    assert typed == [b"\x03", b"q", b"\r"]


def test_end_of_input_ends_run(monkeypatch):
    with open(os.devnull) as empty:
        saved = os.dup(0)
        try:
            os.dup2(empty.fileno(), 0)
            Terminal(lambda text: None).run(lambda data: None, lambda: True, ends_with_input=True)
        finally:
            os.dup2(saved, 0)
            os.close(saved)


def test_console_lines_are_escaped(capsys):
    Terminal(lambda text: None).console("a\x1b[2J\r\nb\n")
    assert capsys.readouterr().out == "[virtio console] a\\x1b[2J\n[virtio console] b\n"
