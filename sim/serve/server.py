# SPDX-License-Identifier: BSD-2-Clause
"""A served endpoint as an object: builds, listens, runs the simulation beside, and ends it.

:class:`Server` is what ``python -m sim serve``, ``make guest`` and tests have in common.
"""

from __future__ import annotations

import contextlib
import queue
import select
import socket
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..build import BUILD_ROOT, Configuration, build
from ..run import Outcome, SimulationError, simulate
from ..vfio_user.server import listening
from .control import CONTROL, Line
from .devices import DEFAULT, DeviceSpec
from .qemu import device_argument

SCENARIO = "sim.serve.scenario"
LOOK_S = 0.1
"""How often to see whether a simulation that says nothing yet is still there."""


class ServeError(RuntimeError):
    """The endpoint cannot be served as asked; the text says why."""


class Server:
    """Serves a build of the gateware at a socket while the context lasts.

    Parameters
    ----------
    configuration
        What to build: an endpoint.
    path
        Where clients connect.
    devices
        What is behind it, as :meth:`DeviceSpec.parse` takes it; numbered from 0 on each FIFO.
    folder
        Where log and waves go.
    seed
        Of the random bytes that devices give; without one they are the operating system's.
    revision
        Wire revision.
    trace
        A file for every message, a JSON object a line.
    accesses
        A file for every access of a client's, a line of text each.

    Raises
    ------
    ServeError, DeviceError, SocketError
        Something cannot be as asked.
    sim.run.SimulationError
        The simulation ended before it served anybody.

    Attributes
    ----------
    report
        What was done, once it has stopped.
    outcome
        The simulation's, once it has stopped.
    """

    def __init__(
        self,
        configuration: Configuration,
        path: Path,
        devices: Sequence[str] = DEFAULT,
        *,
        folder: Path = BUILD_ROOT / "serve",
        seed: int | None = None,
        revision: str = "v1",
        trace: Path | None = None,
        accesses: Path | None = None,
    ) -> None:
        if configuration.top != "endpoint" or not configuration.dma:
            raise ServeError("only an endpoint with its DMA window can be served")
        self.path = path.absolute()
        self.report: dict[str, Any] = {}
        self.outcome: Outcome | None = None
        self._specs = [DeviceSpec.parse(text) for text in devices]
        for spec in self._specs:
            spec.check(configuration.num_fifos)
        self._configuration = configuration
        self._folder = folder
        self._seed = seed
        self._revision = revision
        self._files = {
            name: None if file is None else str(file.absolute())
            for name, file in (("trace", trace), ("accesses", accesses))
        }
        self._events: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._failure: Exception | None = None
        self._line: Line | None = None
        self._stack = contextlib.ExitStack()

    @property
    def device_argument(self) -> str:
        """What to give QEMU after ``-device``."""
        return device_argument(self.path)

    def __enter__(self) -> Server:
        with contextlib.ExitStack() as stack:
            stack.callback(self._end)
            self._check_files()
            listener = stack.enter_context(listening(self.path))
            build(self._configuration)
            self._line = self._start(stack, listener)
            reader = threading.Thread(target=self._read, args=(self._line,))
            reader.start()
            stack.callback(reader.join)
            stack.callback(self.stop)
            self._await_listening()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def events(self) -> Iterator[dict[str, Any]]:
        """What happens, as it does, until the server has stopped."""
        while (event := self._events.get()) is not None:
            yield event

    def type(self, text: str) -> None:
        """Type ``text`` into every console behind the endpoint."""
        if self._line is not None:
            self._line.send({"text": text})

    def stop(self) -> None:
        """Have the simulation end; :meth:`events` ends with it."""
        if self._line is not None:
            with contextlib.suppress(OSError):
                self._line.finish()

    def check(self) -> Outcome:
        """The outcome of a simulation that has ended.

        Raises
        ------
        sim.run.SimulationError
            It did not end well: the gateware broke a rule.
        """
        if self._failure is not None:
            raise self._failure
        assert self.outcome is not None, "it has not ended"
        return self.outcome

    def _check_files(self) -> None:
        for name, file in self._files.items():
            if file is not None:
                try:
                    open(file, "a").close()
                except OSError as error:
                    raise ServeError(f"{name} {file}: {error.strerror}") from None

    def _start(self, stack: contextlib.ExitStack, listener: socket.socket) -> Line:
        """Start the simulation, and give it what it needs."""
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="amp-serve-")))
        meeting = stack.enter_context(socket.socket(socket.AF_UNIX))
        meeting.bind(str(folder / "control"))
        meeting.listen(1)
        simulation = threading.Thread(target=self._simulate, args=(str(folder / "control"),))
        simulation.start()
        stack.callback(simulation.join)
        while not select.select([meeting], (), (), LOOK_S)[0]:
            if not simulation.is_alive():
                raise self._failure or SimulationError("the simulation ended at once")
        line = Line(meeting.accept()[0])
        line.send(
            {
                "devices": [asdict(spec) for spec in self._specs],
                "seed": self._seed,
                "revision": self._revision,
                **self._files,
            },
            (listener.fileno(),),
        )
        return line

    def _simulate(self, control: str) -> None:
        try:
            self.outcome = simulate(
                self._configuration, SCENARIO, self._folder, environment={CONTROL: control}
            )
        except Exception as error:
            # To be raised by who asks for the outcome, in a thread of theirs.
            self._failure = error

    def _read(self, line: Line) -> None:
        for event in line:
            if event["kind"] == "report":
                self.report = {name: value for name, value in event.items() if name != "kind"}
            else:
                self._events.put(event)
        self._events.put(None)

    def _await_listening(self) -> None:
        event = self._events.get()
        if event is None or event["kind"] != "listening":
            self._stack.close()
            raise self._failure or SimulationError("the simulation does not listen")

    def _end(self) -> None:
        if self._line is not None:
            self._line.close()
