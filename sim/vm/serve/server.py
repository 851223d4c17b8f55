# SPDX-License-Identifier: BSD-2-Clause
"""A served endpoint as an object: builds, listens, runs the simulation in a thread, ends it.

``python -m sim serve``, ``make guest`` and tests share :class:`Server`.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import select
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...build import BUILD_ROOT, BuildConfiguration, build
from ...errors import CommandFailedError
from ...native.library import build_library
from ...run import Outcome, SimulationError, simulate
from ..vfio_user.server import listening
from .control import CONTROL, ControlChannel
from .devices import DEFAULT, parse_devices
from .events import Event, EventChannel
from .native import run_process
from .qemu import device_argument

SCENARIO = "sim.vm.serve.scenario"
NATIVE, COCOTB = ENGINES = ("native", "cocotb")
"""What runs the gateware: compiled code alone, or cocotb on a simulator."""
POLL_S = 0.1
"""Interval of checks that a simulation that has not connected yet is still alive."""
COMMAND_S = 10.0
"""Default time limit of a command."""
STOP_S = 10.0
"""Time in which a simulation must end when requested to."""


class ServeError(CommandFailedError):
    """The endpoint cannot be served; the text gives the reason."""


class RefusedCommandError(ServeError):
    """A command was refused; the text gives the reason."""


class StoppedError(ServeError):
    """The server was stopped before it was listening."""


def engine_of(engine: str | None, simulator: str | None) -> str:
    """The engine of a server.

    Raises
    ------
    ServeError
        There is no such engine, or the simulator does not run on it.
    """
    if engine is None:
        return COCOTB if simulator == "icarus" else NATIVE
    if engine not in ENGINES:
        raise ServeError(f"engine is {engine}: must be one of {', '.join(ENGINES)}")
    if engine == NATIVE and simulator == "icarus":
        raise ServeError(f"engine is {NATIVE}: icarus runs only on {COCOTB}")
    return engine


class Server:
    """Serves a build of the gateware at a socket while the context lasts.

    Parameters
    ----------
    configuration
        The build: an endpoint.
    path
        Path of the socket that clients connect to.
    devices
        The devices behind it, as for :func:`parse_devices`; numbered from 0 on each FIFO.
    folder
        Folder of log and waves.
    seed
        Seed of the devices' random bytes; ``None`` uses the operating system's.
    revision
        Wire revision.
    trace
        File of all messages, one JSON object per line.
    accesses
        File of all client accesses, one line of text each.
    control
        Path of the socket for scripts, which accepts typed lines; see
        :mod:`sim.vm.serve.remote`.
    quiet
        :meth:`events` omits messages and interrupts.
    engine
        One of :data:`ENGINES`; the default is the fastest for the build's simulator.
    window_us
        Record waves only between these microseconds of simulated time.

    Raises
    ------
    ServeError, DeviceError, SocketError
        A parameter is not valid.
    sim.run.SimulationError
        The simulation ended before it was listening.

    Attributes
    ----------
    engine
        The engine, one of :data:`ENGINES`.
    report
        Totals of the simulation, once it has stopped.
    outcome
        Outcome of the simulation, once it has stopped.
    """

    def __init__(
        self,
        configuration: BuildConfiguration,
        path: Path,
        devices: Sequence[str] = DEFAULT,
        *,
        folder: Path = BUILD_ROOT / "serve",
        seed: int | None = None,
        revision: str = "v1",
        trace: Path | None = None,
        accesses: Path | None = None,
        control: Path | None = None,
        quiet: bool = False,
        engine: str | None = None,
        window_us: tuple[float, float] | None = None,
    ) -> None:
        self.engine = engine_of(engine, configuration.simulator)
        if window_us is not None and (self.engine != NATIVE or configuration.waves is None):
            raise ServeError(f"a window of waves needs waves and the {NATIVE} engine")
        self._window_us = window_us
        if configuration.top != "endpoint" or not configuration.dma:
            raise ServeError("only an endpoint with its DMA window can be served")
        self.path = path.absolute()
        self.report: dict[str, Any] = {}
        self.outcome: Outcome | None = None
        self._specs = parse_devices(devices, configuration.num_fifos)
        self._configuration = configuration
        self._folder = folder
        self._seed = seed
        self._revision = revision
        self._files = {
            name: None if file is None else str(file.absolute())
            for name, file in (("trace", trace), ("accesses", accesses))
        }
        self._control = None if control is None else control.absolute()
        self._quiet = quiet
        self._events = EventChannel()
        self._answers: dict[int, queue.SimpleQueue[tuple[bool, str] | None]] = {}
        self._numbers = itertools.count(1)
        self._failure: Exception | None = None
        self._channel: ControlChannel | None = None
        self._pid: int | None = None
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._stack = contextlib.ExitStack()

    @property
    def device_argument(self) -> str:
        """QEMU's argument of ``-device``."""
        return device_argument(self.path)

    @property
    def pid(self) -> int:
        """Process of the simulation, while it is listening."""
        assert self._pid is not None, "the simulation has not started"
        return self._pid

    @property
    def stopping(self) -> bool:
        """Whether :meth:`stop` was called."""
        return self._stopping.is_set()

    def __enter__(self) -> Server:
        with contextlib.ExitStack() as stack:
            self._check_files()
            listeners = [
                stack.enter_context(listening(path))
                for path in (self.path, self._control)
                if path is not None
            ]
            if self.engine == NATIVE:
                build_library(self._configuration)
            else:
                build(self._configuration)
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="amp-serve-")))
            stack.callback(self._join)
            self._start(folder / "control", listeners)
            event = self._events.get()
            if event is None or event["kind"] != "listening":
                self._join()
                if self.stopping:
                    raise StoppedError("stopped before it was listening")
                raise self._failure or SimulationError("the simulation does not listen")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def events(self) -> Iterator[Event]:
        """Yield events as they happen, until the server has stopped."""
        return iter(self._events)

    def type(self, text: str) -> None:
        """Type ``text`` into every console behind the endpoint."""
        channel = self._channel
        if channel is not None:
            channel.send({"text": text})

    def send_command(self, command: str) -> None:
        """Send a command, see :mod:`sim.vm.serve.commands`; its answer is an event ``answer``."""
        self._send_command(command, 0)

    def command(self, command: str, timeout_s: float = COMMAND_S) -> str:
        """Send a command and wait for its answer.

        Raises
        ------
        RefusedCommandError
            The command was refused; the text gives the reason.
        ServeError
            The server has ended, or no answer arrives within ``timeout_s``.
        """
        number = next(self._numbers)
        answer_queue = self._answers[number] = queue.SimpleQueue()
        try:
            if not self._send_command(command, number):
                raise ServeError(f"{command}: nothing is served")
            answer = answer_queue.get(timeout=timeout_s)
        except queue.Empty:
            raise ServeError(f"{command}: no answer within {timeout_s:g} s") from None
        finally:
            del self._answers[number]
        if answer is None:
            raise ServeError(f"{command}: the server has ended")
        done, text = answer
        if not done:
            raise RefusedCommandError(text)
        return text

    def _send_command(self, command: str, number: int) -> bool:
        channel = self._channel
        if channel is not None:
            channel.send({"command": command, "number": number})
        return channel is not None

    def stop(self) -> None:
        """End the simulation, and :meth:`events` with it; a signal handler may call this."""
        was_stopping = self.stopping
        self._stopping.set()
        channel = self._channel
        if channel is not None:
            channel.end_sending()
        if not was_stopping:
            killer = threading.Timer(STOP_S, self._kill)
            killer.daemon = True
            killer.start()

    def check(self) -> Outcome:
        """The outcome of a simulation that has ended.

        Raises
        ------
        sim.run.SimulationError
            The simulation failed, for example because the gateware violated a rule.
        """
        if self._failure is not None:
            raise self._failure
        assert self.outcome is not None, "the simulation has not ended"
        return self.outcome

    def _check_files(self) -> None:
        for name, file in self._files.items():
            if file is not None:
                try:
                    open(file, "a").close()
                except OSError as error:
                    raise ServeError(f"{name} {file}: {error.strerror}") from None

    def _start(self, control: Path, listeners: Sequence[socket.socket]) -> None:
        """Start the thread of the simulation and the one that communicates with it."""
        control_listener = socket.socket(socket.AF_UNIX)
        control_listener.bind(str(control))
        control_listener.listen(1)
        simulation = threading.Thread(target=self._simulate, args=(str(control),))
        communication = threading.Thread(
            target=self._communicate,
            args=(control_listener, simulation, tuple(listener.fileno() for listener in listeners)),
        )
        self._threads = [simulation, communication]
        for thread in self._threads:
            thread.start()

    def _join(self) -> None:
        self.stop()
        for thread in self._threads:
            thread.join()

    def _kill(self) -> None:
        """Kill a simulation that does not end on request."""
        if self._pid is not None and any(thread.is_alive() for thread in self._threads):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)

    def _simulate(self, control: str) -> None:
        try:
            if self.engine == NATIVE:
                self.outcome = run_process(
                    self._configuration, self._folder, control, window_us=self._window_us
                )
            else:
                self.outcome = simulate(
                    self._configuration, SCENARIO, self._folder, environment={CONTROL: control}
                )
        except Exception as error:
            # check() raises it, in the caller's thread.
            self._failure = error

    def _communicate(
        self,
        control_listener: socket.socket,
        simulation: threading.Thread,
        listeners: tuple[int, ...],
    ) -> None:
        try:
            channel = self._accept(control_listener, simulation)
            if channel is None:
                return
            with contextlib.closing(channel):
                channel.send(self._settings(), listeners)
                self._channel = channel
                if self.stopping:
                    channel.end_sending()
                for event in channel:
                    self._dispatch(event)
                self._channel = None
        finally:
            self._events.end()
            for answer in tuple(self._answers.values()):
                answer.put(None)

    def _accept(
        self, control_listener: socket.socket, simulation: threading.Thread
    ) -> ControlChannel | None:
        """Wait for the simulation to connect; ``None`` if it ends first or must stop."""
        with control_listener:
            while not select.select([control_listener], (), (), POLL_S)[0]:
                if self.stopping or not simulation.is_alive():
                    return None
            return ControlChannel(control_listener.accept()[0])

    def _settings(self) -> dict[str, Any]:
        return {
            "devices": [asdict(spec) for spec in self._specs],
            "num_fifos": self._configuration.num_fifos,
            "seed": self._seed,
            "revision": self._revision,
            "folder": os.getcwd(),
            "quiet": self._quiet,
            **self._files,
        }

    def _dispatch(self, event: Event) -> None:
        facts = {name: value for name, value in event.items() if name != "kind"}
        if event["kind"] == "started":
            self._pid = facts["pid"]
        elif event["kind"] == "report":
            self.report = facts
        elif event["kind"] == "answer":
            answer_queue = self._answers.get(facts.pop("number") or 0)
            if answer_queue is not None:
                answer_queue.put((facts["done"], facts["text"]))
            self._events.put({"kind": "answer", **facts})
        else:
            self._events.put(event)
