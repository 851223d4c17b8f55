# SPDX-License-Identifier: BSD-2-Clause
"""A machine with a fake QEMU, and the agent of the guest with the machine's own shell."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from guest_fakes import program

from sim.build import BuildConfiguration
from sim.vm.guest.fetch.qemu import Qemu
from sim.vm.guest.fetch.userland import Userland
from sim.vm.guest.kit import image
from sim.vm.guest.kit.machine import GuestTimeoutError, Machine, MachineError
from sim.vm.guest.kit.modules import Module
from sim.vm.guest.qemu import Guest

# Connects to the sockets of the command line and answers requests by a table.
QEMU = """#!{python}
import re, socket, sys, time
paths = [re.search("path=([^,]*)", word)[1] for word in sys.argv if word.startswith("socket,")]
console, agent = (socket.socket(socket.AF_UNIX) for _ in paths)
for connection, path in zip((console, agent), paths):
    connection.connect(path)
console.sendall(b"booting\\r\\n")
agent.sendall(b"garbage\\n0 ! ready 6.12.1-x\\n")
answers = {answers!r}
for line in agent.makefile():
    number, function, *rest = line.split()
    if function == "end":
        sys.exit(3)
    for text in answers.get(function, ["= 0"]):
        agent.sendall(f"{{text if text[0] == '0' else number + ' ' + text}}\\n".encode())
"""


@pytest.fixture
def machine(tmp_path):
    """Starts a machine whose guest answers from a table."""
    machines = []
    folder = Path(tempfile.mkdtemp(prefix="amp-test-"))

    def start(text=None, **answers):
        script = text or QEMU.format(python=sys.executable, answers=answers)
        output: list[bytes] = []
        machine = Machine(
            Qemu((str(program(tmp_path, "qemu", script)),), "fake"),
            lambda paths, log: Guest(
                kernel=Path("k"), initrd=None, append="", device="{}", sockets=paths, log=log
            ),
            folder,
            tmp_path / "console.log",
            output.append,
        )
        machines.append(machine)
        machine.output = output
        return machine

    yield start
    for machine in machines:
        machine.end()
    shutil.rmtree(folder)


def test_answer_has_status_lines_and_facts(machine):
    found = machine(
        devices=["| fact bytes 12", "| virtio0: id 4", "! mark", "| fact disk 1 2 ab", "= 1"]
    )
    assert found.wait_ready(5) == "6.12.1-x"
    answer = found.call("devices", 1, timeout_s=5)
    assert answer.status == 1 and answer.lines == ["virtio0: id 4"]
    assert answer.number("bytes") == 12 and answer.fact("disk") == "1 2 ab"
    assert answer.fact("no") is None and answer.number("disk") == 0
    assert b"".join(found.output) == b"booting\r\n"


def test_mark_is_awaited(machine):
    found = machine(write=["! writing", "= 0"], fails=["| no disk", "= 1"])
    found.wait_ready(5)
    found.wait_mark(found.start("write"), "writing", 5)
    with pytest.raises(MachineError, match="ended before 'writing'\nno disk"):
        found.wait_mark(found.start("fails"), "writing", 5)


def test_time_limit_names_itself(machine):
    found = machine(hang=["| started"])
    found.wait_ready(5)
    with pytest.raises(GuestTimeoutError, match=r"not done within 0.2 s"):
        found.call("hang", timeout_s=0.2)


def test_reboot_is_noticed(machine):
    found = machine(test=["0 ! ready 6.12.1-x"])
    found.wait_ready(5)
    with pytest.raises(MachineError, match="the machine has rebooted by itself"):
        found.call("test", timeout_s=5)


def test_end_of_machine_is_noticed(machine):
    found = machine()
    found.wait_ready(5)
    for _ in range(2):
        with pytest.raises(MachineError, match="the machine"):
            found.call("end", timeout_s=5)


def test_qemu_that_fails_is_shown(machine):
    with pytest.raises(MachineError, match="QEMU ended with status 3\nno such device"):
        machine("#!/bin/sh\necho 'no such device' >&2\nexit 3\n")


@pytest.mark.parametrize("name", ["init", *image.SCRIPTS])
def test_scripts_are_valid(name):
    subprocess.run(["sh", "-n", str(image.FILES / name)], check=True)


def test_image_has_programs_modules_and_lists(tmp_path):
    for name in ("busybox", "mke2fs", "libc.so.6", "ld.so"):
        (tmp_path / name).write_text(f"contents of {name}")
    userland = Userland(
        tmp_path / "busybox", (tmp_path / "mke2fs",), (tmp_path / "libc.so.6",), tmp_path / "ld.so"
    )
    base = [Module("jbd2", Path("jbd2.ko.xz"), b"J"), Module("ext4", Path("ext4.ko.xz"), b"E")]
    driver = [Module("amp", Path("amp.ko"), b"A")]
    entries = {
        entry.name: entry.contents
        for entry in image.entries(BuildConfiguration(), userland, base, driver)
    }
    assert entries["kit/modules/base"] == b"jbd2.ko\next4.ko\n"
    assert entries["kit/modules/driver"] == b"amp.ko\n" and entries["kit/modules/amp.ko"] == b"A"
    assert entries["sbin/mke2fs"] == b"contents of mke2fs"
    facts = entries["kit/facts"].decode().splitlines()
    assert {"VENDOR_ID=0x10ee", "DEVICE_ID=0x9039", "ID_BLOCK=2", "PEER_IP=10.0.0.2"} <= set(facts)
    archive = image.archive(BuildConfiguration(), userland, base, driver, under=b"12345")
    # The user's archive first, so that the kit's files replace its.
    assert archive.startswith(b"12345" + bytes(3) + b"070701")
