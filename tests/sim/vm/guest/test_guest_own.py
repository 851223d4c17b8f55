# SPDX-License-Identifier: BSD-2-Clause
"""The user's own guest: QEMU's arguments, the printed text, the exit status."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from guest_fakes import program
from rich.console import Console

from sim.build import BuildConfiguration
from sim.vm.guest import own
from sim.vm.guest.fetch.qemu import Qemu
from sim.vm.guest.options import GuestOptions


@pytest.fixture
def boot(tmp_path, monkeypatch):
    """Boots with a QEMU that records its arguments; returns status, arguments and output."""
    made = []

    class Server:
        device_argument = "DEVICE"

        def __init__(self, configuration, path, **options) -> None:
            made.append(options)

        def __enter__(self):
            return self

        def __exit__(self, *error) -> None:
            pass

        def events(self):
            yield {"kind": "message", "text": "m"}
            yield {"kind": "client", "state": "connected"}
            yield {"kind": "console", "text": "\x1b[2J21 °C\r\n"}

        def stop(self) -> None:
            pass

        def type(self, text: str) -> None:
            pass

        def check(self):
            return SimpleNamespace(waves=tmp_path / "waves.vcd", log=tmp_path / "sim.log")

    monkeypatch.setattr(own, "Server", Server)
    script = f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/arguments\nexit 4\n'
    qemu = Qemu((str(program(tmp_path, "qemu", script)),), "fake")
    (tmp_path / "kernel").touch()

    def boot(**changes):
        terminal = io.StringIO()
        status = own.boot_own(
            BuildConfiguration(),
            qemu,
            GuestOptions(**changes),
            kernel=tmp_path / "kernel",
            initrd=None,
            seed=1,
            folder=tmp_path,
            terminal=Console(file=terminal, width=200),
        )
        arguments = (tmp_path / "arguments").read_text().splitlines()
        return status, arguments, terminal.getvalue(), made[-1]

    return boot


def test_guest_uses_terminal(boot, tmp_path):
    status, arguments, text, options = boot()
    assert status == 4
    serial = arguments[arguments.index("-chardev") + 1]
    assert serial.startswith("socket,id=serial0,path=") and f"logfile={tmp_path}" in serial
    assert arguments[arguments.index("-append") + 1] == "console=ttyS0 panic=-1"
    assert arguments[-2:] == ["-device", "DEVICE"] and "-s" not in arguments
    assert options["devices"] == own.DEFAULT and options["trace"] == tmp_path / "trace.jsonl"
    assert options["revision"] == "v1"
    assert "gdb" not in text and f"tail -f {tmp_path}/trace.jsonl" in text
    assert f"'!help' | nc -N -U {options['control']}" in text
    words = " ".join(text.split())
    assert "serial output reaches the terminal unfiltered" in words
    assert "Ctrl-A V sends typed text to the virtio console" in words
    assert "waves.vcd" in text
    assert (tmp_path / "events.log").read_text().splitlines() == [
        "kind=client state=connected",
        "kind=console text=\\x1b[2J21 °C",
    ]


def test_console_output_is_escaped(boot, capsys):
    boot()
    assert "[virtio console] \\x1b[2J21 °C\n" in capsys.readouterr().out


def test_gdb_is_explained(boot):
    _, arguments, text, options = boot(gdb=True, wait=True, append="x", devices=["rng"])
    assert "-s" in arguments and "-S" in arguments
    assert arguments[arguments.index("-append") + 1] == "console=ttyS0 panic=-1 x"
    assert "target remote :1234" in text and "“continue”" in text
    assert options["devices"] == ("rng",)


def test_options_of_machine_reach_qemu_and_server(boot):
    _, arguments, _, options = boot(
        processors=2, memory_mb=300, qemu_arguments=["-d", "int"], revision="r1"
    )
    assert arguments[arguments.index("-smp") + 1] == "2"
    assert arguments[arguments.index("-m") + 1] == "300M"
    assert arguments[arguments.index("-d") + 1] == "int"
    assert options["revision"] == "r1"
