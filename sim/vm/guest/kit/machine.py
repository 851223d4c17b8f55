# SPDX-License-Identifier: BSD-2-Clause
"""A running machine: QEMU, its serial ports as sockets, and the agent in the guest.

The agent of ``files/agent`` runs the functions of ``files/tests``. A request is a line with a
number; the lines of its answer start with that number.
"""

from __future__ import annotations

import contextlib
import queue
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import GuestError
from ..fetch.qemu import Qemu
from ..qemu import Guest, command_line

CONNECT_S = 30.0
"""Time in which QEMU must connect to the sockets."""
END_S = 10.0
READY = "ready"
ANSWER = re.compile(r"(\d+) ([!|=]) ?(.*)")
LONGEST_LINE = 1 << 16
"""Characters of a line of the agent; a longer one is cut."""


class MachineError(GuestError):
    """The machine ended, or does not answer; the text says which."""


class GuestTimeoutError(MachineError):
    """A test did not end in its time."""


@dataclass
class Answer:
    """Answer of the agent.

    Attributes
    ----------
    status
        Exit status of the function; 0 is success.
    lines
        Lines of its output, without the facts.
    facts
        Lines ``fact NAME VALUE`` of its output, in order.
    """

    status: int = 0
    lines: list[str] = field(default_factory=list)
    facts: list[tuple[str, str]] = field(default_factory=list)

    def fact(self, name: str) -> str | None:
        """The last value of a fact; ``None`` if there is no such fact."""
        return next((value for key, value in reversed(self.facts) if key == name), None)

    def number(self, name: str) -> int:
        """The last value of a fact as a number, 0 without one."""
        value = self.fact(name) or ""
        return int(value) if value.isdecimal() else 0


class Machine:
    """QEMU with the endpoint on its bus, from power on until :meth:`end`.

    Parameters
    ----------
    qemu
        The QEMU.
    guest
        Its guest; ``sockets`` and ``log`` are set here.
    folder
        Folder of the sockets, with a short path.
    log
        File of the console's output; it is appended to.
    on_console
        Called with each piece of the console's output, in another thread.

    Attributes
    ----------
    console
        The socket of the guest's terminal.
    """

    def __init__(
        self,
        qemu: Qemu,
        guest: Callable[[list[Path], Path], Guest],
        folder: Path,
        log: Path,
        on_console: Callable[[bytes], None],
    ) -> None:
        self._on_console = on_console
        self._queue: queue.SimpleQueue[tuple[int, str, str] | None] = queue.SimpleQueue()
        self._number = 0
        self._marks: list[tuple[int, str]] = []
        paths = [folder / "console", folder / "agent"]
        with contextlib.ExitStack() as stack:
            listeners = [stack.enter_context(_listening(path)) for path in paths]
            self._errors = (log.parent / "qemu.log").open("ab")
            self._process = subprocess.Popen(
                command_line(qemu, guest(paths, log)),
                stdin=subprocess.DEVNULL,
                stdout=self._errors,
                stderr=self._errors,
            )
            try:
                self.console, self._agent = (self._accept(listener) for listener in listeners)
            except MachineError:
                self.end()
                raise
        self._threads = [
            threading.Thread(target=self._read_console, daemon=True),
            threading.Thread(target=self._read_agent, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def is_running(self) -> bool:
        """Whether QEMU has not ended."""
        return self._process.poll() is None

    def _accept(self, listener: socket.socket) -> socket.socket:
        listener.settimeout(0.1)
        end = time.monotonic() + CONNECT_S
        while time.monotonic() < end:
            with contextlib.suppress(TimeoutError):
                return listener.accept()[0]
            if self._process.poll() is not None:
                break
        text = Path(self._errors.name).read_text(errors="replace").strip()
        status = self._process.poll()
        state = "does not start" if status is None else f"ended with status {status}"
        raise MachineError(f"QEMU {state}\n{text}")

    def wait_ready(self, timeout_s: float | None) -> str:
        """Wait for the agent after a boot; returns the kernel's release.

        Raises
        ------
        MachineError
            As :meth:`call`.
        """
        return self._wait_mark(0, READY, timeout_s).removeprefix(READY).strip()

    def start(self, function: str, *arguments: object) -> int:
        """Send a request; returns its number."""
        self._number += 1
        words = " ".join(map(str, (self._number, function, *arguments)))
        try:
            self._agent.sendall(words.encode() + b"\n")
        except OSError as error:
            raise MachineError(f"the machine does not read: {error.strerror}") from error
        return self._number

    def wait_mark(self, number: int, mark: str, timeout_s: float | None) -> None:
        """Wait until a request prints a mark; raises as :meth:`call`, or if it ends before."""
        self._wait_mark(number, mark, timeout_s)

    def _wait_mark(self, number: int, mark: str, timeout_s: float | None) -> str:
        end = None if timeout_s is None else time.monotonic() + timeout_s
        lines: list[str] = []
        while True:
            item = self._next(end)
            if item is None:
                raise GuestTimeoutError(f"no {mark!r} within {timeout_s:g} s")
            found, kind, text = item
            if found == number and kind == "!" and text.startswith(mark):
                return text
            if found == number and kind == "|":
                lines.append(text)
            if found == number and kind == "=":
                raise MachineError("\n".join([f"ended before {mark!r}", *lines]))

    def finish(self, number: int, timeout_s: float | None) -> Answer:
        """Wait for the end of a request; raises as :meth:`call`."""
        end = None if timeout_s is None else time.monotonic() + timeout_s
        answer = Answer()
        while True:
            item = self._next(end)
            if item is None:
                raise GuestTimeoutError(f"not done within {timeout_s:g} s")
            found, kind, text = item
            if found == 0 and text.startswith(READY):
                raise MachineError("the machine has rebooted by itself")
            if found != number or kind == "!":
                continue
            if kind == "=":
                answer.status = int(text) if text.isdecimal() else 1
                return answer
            if text.startswith("fact "):
                _, name, value = (*text.split(" ", 2), "")[:3]
                answer.facts.append((name, value))
            else:
                answer.lines.append(text)

    def call(self, function: str, *arguments: object, timeout_s: float | None) -> Answer:
        """Run a function in the guest.

        Raises
        ------
        GuestTimeoutError
            It does not end within ``timeout_s``; ``None`` waits without limit.
        MachineError
            The machine ended or rebooted.
        """
        return self.finish(self.start(function, *arguments), timeout_s)

    def end(self) -> None:
        """End QEMU at once, as a power failure ends a machine."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(END_S)
        for name in ("console", "_agent"):
            with contextlib.suppress(AttributeError, OSError):
                getattr(self, name).shutdown(socket.SHUT_RDWR)
        for thread in getattr(self, "_threads", ()):
            thread.join(END_S)
        for name in ("console", "_agent"):
            with contextlib.suppress(AttributeError, OSError):
                getattr(self, name).close()
        self._errors.close()

    def _next(self, end: float | None) -> tuple[int, str, str] | None:
        """The next line of the agent; ``None`` after ``end``."""
        try:
            timeout = None if end is None else max(end - time.monotonic(), 0.0)
            item = self._queue.get(timeout=timeout)
        except queue.Empty:
            return None
        if item is None:
            self._queue.put(None)
            raise MachineError("the machine has ended")
        return item

    def _read_console(self) -> None:
        with contextlib.suppress(OSError):
            while data := self.console.recv(1 << 12):
                self._on_console(data)

    def _read_agent(self) -> None:
        rest = b""
        with contextlib.suppress(OSError):
            while data := self._agent.recv(1 << 12):
                *lines, rest = (rest + data).split(b"\n")
                rest = rest[-LONGEST_LINE:]
                for line in lines:
                    found = ANSWER.match(line.decode(errors="replace").strip("\r\0"))
                    if found is not None:
                        self._queue.put((int(found[1]), found[2], found[3]))
        self._queue.put(None)


@contextlib.contextmanager
def _listening(path: Path) -> Iterator[socket.socket]:
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)
        yield listener
