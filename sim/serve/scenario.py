# SPDX-License-Identifier: BSD-2-Clause
"""What runs in the simulator: the gateware, the devices behind it, and the server before it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import cocotb

from models.bus import Direction
from models.devices import ConsoleDevice
from models.messages import describe
from testbench.parameters import parameters
from testbench.tlp import Tlp
from testbench.trace import TraceEntry

from ..bridge.gateware import GatewareFunction
from ..vfio_user import wire
from ..vfio_user.server import VfioUserServer
from ..vfio_user.session import Verb
from .console_text import ConsoleText
from .control import CONTROL, Line
from .devices import DeviceSpec, by_fifo

SHOWN_BYTES = 64
"""Of an access, in the file of accesses."""
MOST_TYPED = 1 << 16
"""Bytes that may wait for a guest that does not read its console."""


class StoppedError(Exception):
    """The command wants the simulation to end, or has ended itself."""


@cocotb.test()
async def serve(dut: Any) -> None:
    """Serve until the command's end of the line closes."""
    # They may go to all of us; the command, at the other end of the line, says what to do.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    line = Line.connect(os.environ[CONTROL])
    line.tell("started", pid=os.getpid())
    wishes, files = line.first()
    specs = [DeviceSpec(**spec) for spec in wishes["devices"]]
    devices = by_fifo(specs, parameters().num_fifos, wishes["seed"])
    function = GatewareFunction(dut, devices, revision=wishes["revision"])
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(fileno=files[0]))
        trace, accesses = (
            name and stack.enter_context(Path(name).open("w", encoding="utf-8"))
            for name in (wishes["trace"], wishes["accesses"])
        )
        service = Service(function, listener, line, trace, accesses)
        with contextlib.suppress(StoppedError):
            await service.run()
        line.tell("report", **service.report())
    line.close()
    violations = function.system.monitor.violations
    assert not violations, f"the gateware broke {len(violations)} rules: {violations[0]}"


class Service:
    """The server and those who tell of its doings.

    Parameters
    ----------
    function
        What is served.
    listener
        The socket that clients connect to.
    line
        Who is told, and says what is typed.
    trace
        Where each message goes, as JSON.
    accesses
        Where each access of a client's goes, as text.
    """

    def __init__(
        self,
        function: GatewareFunction,
        listener: socket.socket,
        line: Line,
        trace: TextIO | None = None,
        accesses: TextIO | None = None,
    ) -> None:
        self._function = function
        self._line = line
        self._trace = trace
        self._accesses = accesses
        self._messages = dict.fromkeys(Direction, 0)
        function.system.trace.on_entry = self._message
        # Told of before the guest hears of it.
        function.bus_master.on_interrupt.insert(0, self._interrupt)
        function.bus_master.on_refused = self._refused
        function.system.monitor.on_violation = lambda violation: line.tell(
            "error", text=f"the gateware broke a rule: {violation}"
        )
        self._consoles: dict[tuple[int, int], tuple[ConsoleDevice, ConsoleText]] = {}
        for fifo, transport in enumerate(function.system.device_side.transports):
            for number, device in transport.devices.items():
                if isinstance(device, ConsoleDevice):
                    text = self._printer(fifo, number)
                    text.remind = function.readiness.remind
                    device.output_observers.append(text)
                    self._consoles[fifo, number] = device, text
        function.readiness.watch(line.fileno(), self._listen)
        self._server = VfioUserServer(listener, function, function.readiness)
        self._server.on_client = self._client
        self._server.on_access = self._access
        self._server.on_error = lambda text: line.tell("error", text=text)

    async def run(self) -> None:
        """Start the function and serve it.

        Raises
        ------
        StoppedError
            The command wants it to end.
        """
        await self._function.start()
        self._line.tell("listening")
        await self._server.run()

    def report(self) -> dict[str, Any]:
        """What was done, all clients together."""
        system, bus_master = self._function.system, self._function.bus_master
        return {
            "messages_to_device": self._messages[Direction.TO_DEVICE],
            "messages_to_driver": self._messages[Direction.TO_DRIVER],
            "interrupts": bus_master.interrupts,
            **asdict(self._server.statistics),
            "dma_read_bytes": bus_master.traffic.read_bytes,
            "dma_write_bytes": bus_master.traffic.write_bytes,
            "tlps_checked": system.monitor.completions + system.monitor.requests,
            "cycles": system.cycles,
            "sim_time_ns": system.time_ns,
        }

    def _listen(self) -> None:
        wishes = self._line.take()
        if wishes is None:
            raise StoppedError
        for wish in wishes:
            for console, _ in self._consoles.values():
                # Who types faster than the guest reads has too much to say.
                if console.waiting < MOST_TYPED:
                    console.type(wish["text"].encode())

    def _client(self, state: str, why: str) -> None:
        # The next guest begins with a character and a line of its own.
        for _, text in self._consoles.values():
            text.end()
        self._line.tell("client", state=state, why=why)

    def _message(self, entry: TraceEntry) -> None:
        self._messages[entry.direction] += 1
        # A server goes on for ever; who wants to keep its messages has them in a file.
        self._function.system.trace.entries.clear()
        if self._trace is not None:
            self._write(self._trace, json.dumps(entry.to_json(), ensure_ascii=False))
        self._line.tell(
            "message",
            time_ns=entry.time_ns,
            direction=entry.direction,
            fifo=entry.fifo,
            text=entry.description
            if entry.message is None
            else describe(entry.message, brief=True),
        )

    def _access(self, verb: Verb, region: int, offset: int, data: bytes) -> None:
        if self._accesses is None:
            return
        where = "config" if region == wire.CONFIG_REGION else f"BAR{region}"
        # In memory order, as the message trace has its bytes.
        shown = data[:SHOWN_BYTES].hex() + ("…" if len(data) > SHOWN_BYTES else "")
        self._write(
            self._accesses,
            f"{self._function.system.time_ns:>14.1f} ns  {verb:<5}  {where:<6}  {offset:#06x}  "
            f"{len(data):>4}  {shown}",
        )

    def _write(self, file: TextIO, line: str) -> None:
        try:
            file.write(line + "\n")
            file.flush()
        except OSError as error:
            self._line.tell("error", text=f"{file.name}: {error.strerror}; it ends here")
            with contextlib.suppress(OSError):
                file.close()
            if file is self._trace:
                self._trace = None
            else:
                self._accesses = None

    def _interrupt(self, vector: int) -> None:
        self._line.tell("interrupt", time_ns=self._function.system.time_ns, vector=vector)

    def _refused(self, request: Tlp) -> None:
        self._line.tell("error", text=f"no memory of the guest's for {request}")

    def _printer(self, fifo: int, number: int) -> ConsoleText:
        return ConsoleText(
            lambda text: self._line.tell("console", fifo=fifo, dev_num=number, text=text)
        )
