# SPDX-License-Identifier: BSD-2-Clause
"""Runs the battery: boots the machine, runs test after test, explains each failure.

A machine on which a test failed is ended, and the next test gets a new one.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from rich.console import Console

from ...serve.devices import DeviceSpec
from ...serve.server import ServeError, Server
from ..terminal import Terminal
from . import endpoint_log
from .kernel_log import KernelLog
from .lengths import BOOT_S, DEVICES_S, Length
from .machine import Answer, GuestTimeoutError, Machine, MachineError
from .results import Details, Result, print_result
from .tests import DEVICES, LOAD, TESTS, VIRTIO_IDS, BatteryTest, TestFailedError
from .watch import ServerWatch

TRACE, ACCESSES = "trace.jsonl", "accesses.txt"
"""Files of messages and accesses."""
SETTLE_S = 0.3
"""Time after a test in which its last lines of the kernel log arrive."""
BLOCKED_S = 3.0
"""Time for Linux to print its waiting tasks."""
LOG_LINES = 40
"""Lines of the kernel log that a failure shows."""
MOST_FAILED_STARTS = 2
"""Machines in a row that do not come up, after which the rest is not run."""


class Battery:
    """Runs tests on machines in turn, all on one server.

    Parameters
    ----------
    server
        Serves the endpoint.
    specs
        The devices behind it.
    start
        Starts a machine; called with a function that takes its console's output.
    length
        Amounts of work.
    revision
        Wire revision.
    folder
        Folder of the files of messages and accesses.
    terminal
        Where results are printed.
    soak_s
        Duration of the soak; 0 for none.
    debugged
        A debugger may stop the machine: there are no time limits.
    """

    def __init__(
        self,
        server: Server,
        specs: Sequence[DeviceSpec],
        start: Callable[[Callable[[bytes], None]], Machine],
        *,
        length: Length,
        revision: str,
        folder: Path,
        terminal: Console,
        soak_s: int = 0,
        debugged: bool = False,
    ) -> None:
        self.length = length
        self.expected = [VIRTIO_IDS[spec.kind] for spec in specs]
        self.revision = revision
        self.soak_s = soak_s
        self.results: list[Result] = []
        self.kernel_release: str | None = None
        self.on_console: Callable[[bytes], None] = lambda data: None
        self._server = server
        self._specs = specs
        self._start = start
        self._folder = folder
        self._terminal = terminal
        self._debugged = debugged
        self._log = KernelLog()
        self._events = (folder / "events.log").open("w", encoding="utf-8")
        self.watch = ServerWatch(server, self._note_event)
        self._machine: Machine | None = None
        self._loaded = False
        self._failed_starts = 0

    # What tests use

    @property
    def machine(self) -> Machine:
        """The running machine."""
        assert self._machine is not None, "no machine is running"
        return self._machine

    @property
    def printed(self) -> str:
        """What the consoles got."""
        return self.watch.printed

    def limit_s(self, seconds: float) -> float | None:
        """A time limit; ``None`` with a debugger."""
        return None if self._debugged else seconds

    def call(self, function: str, *arguments: object) -> Answer:
        """Run a function in the guest; raises :class:`MachineError`."""
        seconds = self.length.limit_s
        return self.machine.call(function, *arguments, timeout_s=self.limit_s(seconds))

    def command(self, text: str) -> str:
        """Run a command of the server; raises :class:`ServeError`."""
        return self._server.command(text)

    def type(self, text: str) -> None:
        """Type into the consoles."""
        self._server.type(text)

    def place(self, kind: str) -> str | None:
        """The first device of a kind, as commands name it."""
        counts: dict[int, int] = {}
        for spec in self._specs:
            number = counts.setdefault(spec.fifo, 0)
            counts[spec.fifo] += 1
            if spec.kind == kind:
                return f"{spec.fifo}:{number}"
        return None

    def reboot(self, function: str) -> None:
        """Let the guest reboot by a function, and wait for its agent."""
        self.machine.start(function)
        self._loaded = False
        self.machine.wait_ready(self.limit_s(BOOT_S))

    def kill(self) -> None:
        """End the machine at once, and start another one."""
        self.end_machine()
        self._boot()

    def load(self) -> Answer:
        """Load the kernel's modules and the driver's."""
        for name in ("base", "driver"):
            answer = self.call("test_load", name)
            if answer.status:
                return answer
        self._loaded = True
        return answer

    # Run

    def run(self, names: Iterable[str] = ()) -> list[Result]:
        """Run the tests of these names, or all, after those that load the driver."""
        chosen = set(names)
        for test in TESTS:
            if not chosen or test.name in chosen or test in (LOAD, DEVICES):
                result = self._run(test)
                self.results.append(result)
                print_result(self._terminal, result)
        return self.results

    def end_machine(self) -> None:
        """End the machine, if one is running."""
        if self._machine is not None:
            self._machine.end()
        self._machine, self._loaded = None, False

    def bring_up(self) -> None:
        """Boot a machine and load the driver, unless that is done; raises as :meth:`call`."""
        if self._machine is None:
            self._boot()
        if not self._loaded:
            answer = self.load()
            if answer.status:
                raise MachineError("\n".join(answer.lines))
            self.call("test_devices", DEVICES_S, *self.expected)

    def keep(self, terminal: Terminal) -> None:
        """Leave the guest at a shell on the terminal, until it, the machine or the input ends.

        Raises
        ------
        MachineError
            The machine does not come up.
        """
        self.bring_up()
        machine = self.machine
        shell = machine.start("test_shell")
        ended = threading.Event()

        def wait() -> None:
            with contextlib.suppress(MachineError):
                machine.finish(shell, None)
            ended.set()

        threading.Thread(target=wait, daemon=True).start()
        self.on_console, self.watch.on_console = terminal.output, terminal.console
        terminal.run(
            machine.console.sendall,
            lambda: machine.is_running and not ended.is_set(),
            ends_with_input=True,
        )

    def close(self) -> None:
        """Close the files; the server has ended."""
        self.watch.join()
        self._events.close()

    def _boot(self) -> None:
        self._machine = self._start(self._console)
        self.kernel_release = self._machine.wait_ready(self.limit_s(BOOT_S))

    def _console(self, data: bytes) -> None:
        self._log.feed(data)
        self.on_console(data)

    def _note_event(self, line: str) -> None:
        self._events.write(line + "\n")
        self._events.flush()

    def _skip_reason(self, test: BatteryTest) -> str | None:
        if self._failed_starts >= MOST_FAILED_STARTS:
            return "the machine does not come up"
        missing = [kind for kind in test.kinds if VIRTIO_IDS[kind] not in self.expected]
        if missing:
            return f"no device {', '.join(missing)}"
        if not self.expected and test not in (LOAD, DEVICES):
            return "no device is found"
        return test.applies(self)

    def _run(self, test: BatteryTest) -> Result:
        result = Result(test.name)
        result.finding = self._skip_reason(test)
        if result.finding is not None:
            return result
        self._log.take()
        self.watch.take_errors()
        started, counts = time.monotonic(), self.watch.counts
        answer, problem = Answer(), None
        try:
            if test is LOAD:
                self._boot()
            else:
                self.bring_up()
            self._failed_starts = 0
            # The start is not part of the test: what it warns about is a finding of the first.
            if test is not LOAD:
                self._log.take()
                self.watch.take_errors()
            started, counts = time.monotonic(), self.watch.counts
            answer = test.run(self)
            if answer.status:
                problem = answer.lines[-1] if answer.lines else f"status {answer.status}"
            problem = problem or self._check_disk(answer)
        except GuestTimeoutError as error:
            problem = f"the guest hangs: {error}"
        except (MachineError, ServeError, TestFailedError) as error:
            problem = str(error)
        result.seconds = time.monotonic() - started
        if problem is not None and not self._loaded:
            self._failed_starts += 1
        difference = self.watch.counts.since(counts)
        result.messages, result.interrupts = difference.messages, difference.interrupts
        size = answer.number("bytes")
        result.bytes_per_s = size / result.seconds if size and result.seconds else None
        self._judge(result, problem, answer)
        if test is DEVICES and answer.status:
            self._accept_devices(answer)
        return result

    def _judge(self, result: Result, problem: str | None, answer: Answer) -> None:
        """Decide whether a test passed; a failure is explained and ends the machine."""
        time.sleep(SETTLE_S)
        hung = problem is not None and problem.startswith("the guest hangs")
        if hung and self._machine is not None and self._machine.is_running:
            self._print_blocked()
        findings = self._log.take()
        errors = self.watch.take_errors()
        problems = [
            *(f"kernel log, {finding.kind}: {finding.line.strip()}" for finding in findings),
            *([] if problem is None else problem.splitlines() or ["failed"]),
            *(f"server: {error}" for error in errors),
        ]
        result.ok = not problems
        if result.ok:
            return
        result.finding, *others = problems
        view = endpoint_log.view(self._folder / TRACE, self._folder / ACCESSES, self.revision)
        log = [line for finding in findings for line in finding.lines]
        result.details = Details(
            view.stopped,
            [*answer.lines, *(line for line in others if line not in answer.lines)],
            log or self._log.last(LOG_LINES),
            view.messages,
            view.accesses,
        )
        if result.test != DEVICES.name:
            self.end_machine()

    def _print_blocked(self) -> None:
        with contextlib.suppress(MachineError):
            self.machine.call("test_blocked", timeout_s=BLOCKED_S)
        time.sleep(SETTLE_S)

    def _accept_devices(self, answer: Answer) -> None:
        """Continue with the devices that the driver has found."""
        found = [line.partition(": id ")[2].partition(",") for line in answer.lines]
        self.expected = [
            int(number)
            for number, _, rest in found
            if number.isdecimal() and rest.removeprefix(" driver ").strip()
        ]

    def _check_disk(self, answer: Answer) -> str | None:
        """Compare the disk's image with the sums of what the guest wrote to it."""
        spec = next((spec for spec in self._specs if spec.kind == "blk"), None)
        if spec is None or spec.image is None:
            return None
        for name, value in answer.facts:
            if name == "disk":
                offset, size, expected = value.split()
                with Path(spec.image).open("rb") as image:
                    image.seek(int(offset))
                    data = image.read(int(size))
                if hashlib.md5(data).hexdigest() != expected:
                    return f"the image has other bytes at {offset} than the guest wrote"
        return None
