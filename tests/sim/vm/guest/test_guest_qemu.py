# SPDX-License-Identifier: BSD-2-Clause
"""QEMU's command line."""

from __future__ import annotations

import itertools
from pathlib import Path

from sim.vm.guest.fetch.qemu import Qemu
from sim.vm.guest.qemu import Guest, command_line

QEMU = Qemu(("loader", "qemu", "-L", "firmware"), "11.1.3")


def lines(**changes) -> list[str]:
    facts = {"kernel": Path("k"), "initrd": Path("i"), "append": "a b", "device": "{}", **changes}
    return command_line(QEMU, Guest(**facts))


def pairs(command: list[str]) -> set[tuple[str, str]]:
    return set(itertools.pairwise(command))


def test_command_line_of_builtin_guest():
    command = lines(results=7)
    assert command[:4] == list(QEMU.command)
    assert pairs(command) >= {
        ("-accel", "tcg"),
        ("-m", "256M"),
        ("-object", "memory-backend-memfd,id=memory,size=256M,share=on"),
        ("-machine", "memory-backend=memory"),
        ("-kernel", "k"),
        ("-initrd", "i"),
        ("-append", "a b"),
        ("-serial", "stdio"),
        ("-chardev", "file,id=results,path=/dev/fd/7"),
        ("-serial", "chardev:results"),
        ("-device", "{}"),
    }
    assert "-no-reboot" in command and "-nodefaults" in command
    # The first port is the console.
    assert command.index("stdio") < command.index("chardev:results")
    assert "-s" not in command and "-S" not in command


def test_command_line_of_own_guest():
    command = lines(initrd=None, console="mon:stdio", memory_mb=1024, gdb=True)
    assert "-initrd" not in command and command.count("-serial") == 1
    assert "memory-backend-memfd,id=memory,size=1024M,share=on" in command
    assert "-s" in command and "-S" not in command
    waiting = lines(wait=True)
    assert "-s" in waiting and "-S" in waiting


def test_command_line_of_guest_with_sockets():
    command = lines(
        sockets=[Path("c"), Path("a")],
        log=Path("l"),
        reboots=True,
        processors=2,
        arguments=["-d", "int"],
    )
    assert pairs(command) >= {
        ("-chardev", "socket,id=serial0,path=c,mux=on,logfile=l,logappend=on"),
        ("-serial", "chardev:serial0"),
        ("-monitor", "chardev:serial0"),
        ("-chardev", "socket,id=serial1,path=a"),
        ("-serial", "chardev:serial1"),
        ("-smp", "2"),
        ("-d", "int"),
    }
    assert "-no-reboot" not in command
