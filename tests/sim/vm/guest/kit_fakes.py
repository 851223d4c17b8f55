# SPDX-License-Identifier: BSD-2-Clause
"""Module files, and a machine and a server without QEMU, for tests of the kit."""

from __future__ import annotations

import queue
import struct
from collections.abc import Callable
from pathlib import Path

from sim.vm.guest.kit.machine import Answer

NAMES = b"\0.modinfo\0.shstrtab\0"
RELEASE = "6.12.1-x"


def module(path: Path, *, depends: str = "", softdep: str = "", release: str = RELEASE) -> Path:
    """Write an ELF file with nothing except the section .modinfo."""
    facts = {"license": "BSD", "depends": depends, "softdep": softdep, "vermagic": f"{release} SMP"}
    info = b"".join(f"{key}={value}".encode() + b"\0" for key, value in facts.items())
    start = 64
    table = start + len(info) + len(NAMES)
    header = b"\x7fELF\x02\x01".ljust(40, b"\0") + struct.pack("<Q10xHHH", table, 64, 3, 2)
    sections = [(0, 0, 0), (1, start, len(info)), (10, start + len(info), len(NAMES))]
    headers = b"".join(
        struct.pack("<I20xQQ24x", name, offset, size) for name, offset, size in sections
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header.ljust(start, b"\0") + info + NAMES + headers)
    return path


class FakeMachine:
    """A machine whose guest answers from a table of functions.

    Attributes
    ----------
    calls
        Functions that were called.
    """

    is_running = True

    def __init__(self, answers: dict[str, Callable[..., Answer]]) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.ended = False
        self._answers = answers
        self._started: list[tuple[object, ...]] = []

    def wait_ready(self, timeout_s: float | None) -> str:
        return RELEASE

    def start(self, function: str, *arguments: object) -> int:
        self._started.append((function, *arguments))
        return len(self._started)

    def wait_mark(self, number: int, mark: str, timeout_s: float | None) -> None:
        pass

    def finish(self, number: int, timeout_s: float | None) -> Answer:
        function, *arguments = self._started[number - 1]
        return self.call(str(function), *arguments, timeout_s=timeout_s)

    def call(self, function: str, *arguments: object, timeout_s: float | None) -> Answer:
        self.calls.append((function, *arguments))
        return self._answers.get(function, lambda *arguments: Answer())(*arguments)

    def end(self) -> None:
        self.ended = True


class FakeServer:
    """A server that answers commands, and yields the events that are put."""

    def __init__(self) -> None:
        self.commands: list[str] = []
        self.typed = ""
        self.events_queue: queue.SimpleQueue = queue.SimpleQueue()

    def events(self):
        while (event := self.events_queue.get()) is not None:
            yield event

    def command(self, text: str) -> str:
        self.commands.append(text)
        return "device 4 is rng"

    def type(self, text: str) -> None:
        self.typed += text

    def stop(self) -> None:
        self.events_queue.put(None)
