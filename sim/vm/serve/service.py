# SPDX-License-Identifier: BSD-2-Clause
"""The part of the server beside the gateware: the devices behind it, and the vfio-user server."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from models.bus import Direction
from models.devices import ConsoleDevice
from models.messages import REVISIONS, describe, dialect_of
from testbench.tlp import Tlp
from testbench.trace import TraceEntry

from ..bridge.gateware import GatewareFunction
from ..vfio_user import wire
from ..vfio_user.server import VfioUserServer
from ..vfio_user.session import Verb
from .access_names import AccessNames
from .commands import DeviceCommands
from .console_text import ConsoleText
from .control import ControlChannel
from .devices import DeviceSpec
from .driver_hints import DriverHints
from .remote import Answer, ControlSocket
from .served import Place, ServedDevice, ServedDevices
from .typed import TypedText

SHOWN_BYTES = 64
"""Bytes of an access that the access file shows."""
MOST_REFUSALS = 20
"""Refused requests of a client's devices that are reported individually."""
MOST_TYPED = 1 << 16
"""Bytes queued for a guest that does not read its console."""
MAX_PAYLOAD_SIZE = 128
"""Bytes: the longest payload of TLPs before the guest sets its own."""


class ScenarioStopped(Exception):
    """The command has requested the end of the simulation, or has ended itself."""


class Session:
    """The connection to the command, and what it asks for.

    Parameters
    ----------
    channel
        The control channel.

    Attributes
    ----------
    devices
        The devices to serve.
    revision
        Wire revision.
    """

    def __init__(self, channel: ControlChannel) -> None:
        # A terminal sends signals to the whole process group; only the command acts on them.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        self._channel = channel
        channel.send_event("started", pid=os.getpid())
        self._settings, self._files = channel.receive_first()
        specs = [DeviceSpec(**spec) for spec in self._settings["devices"]]
        self.devices = ServedDevices(specs, self._settings["num_fifos"], self._settings["seed"])
        self.revision: str = self._settings["revision"]

    async def serve(self, function: GatewareFunction) -> None:
        """Serve until the command closes its end of the control channel.

        Raises
        ------
        AssertionError
            The gateware violated a rule.
        """
        channel, settings = self._channel, self._settings
        with contextlib.ExitStack() as stack:
            listener, *controls = (
                stack.enter_context(socket.socket(fileno=number)) for number in self._files
            )
            trace, accesses = (
                name and stack.enter_context(Path(name).open("w", encoding="utf-8"))
                for name in (settings["trace"], settings["accesses"])
            )
            service = Service(
                function,
                self.devices,
                listener,
                channel,
                revision=self.revision,
                folder=settings["folder"],
                quiet=settings["quiet"],
                trace=trace,
                accesses=accesses,
            )
            for control in controls:
                stack.enter_context(contextlib.closing(service.listen(control)))
            with contextlib.suppress(ScenarioStopped):
                await service.run()
            service.end()
            channel.send_event("report", **service.report())
        channel.close()
        violations = function.system.monitor.violations
        assert not violations, f"the gateware violated {len(violations)} rules: {violations[0]}"


class Service:
    """The vfio-user server, with the observers that report to the command.

    Parameters
    ----------
    function
        The served function.
    devices
        The devices behind it.
    listener
        The socket that clients connect to.
    channel
        The control channel to the command: sends events, receives typed text and commands.
    revision
        Wire revision.
    folder
        Folder of relative image names.
    quiet
        Send no events for messages and interrupts.
    trace
        File of messages, as JSON lines.
    accesses
        File of client accesses, as text.
    """

    def __init__(
        self,
        function: GatewareFunction,
        devices: ServedDevices,
        listener: socket.socket,
        channel: ControlChannel,
        *,
        revision: str = "v1",
        folder: str = "",
        quiet: bool = False,
        trace: TextIO | None = None,
        accesses: TextIO | None = None,
    ) -> None:
        self._function = function
        self._devices = devices
        self._channel = channel
        self._quiet = quiet
        self._trace = trace
        self._accesses = accesses
        self._messages = dict.fromkeys(Direction, 0)
        self._refusals = 0
        build, dialect = function.system.parameters, dialect_of(revision)
        self._names = AccessNames(build.shell, build.layout, build.num_fifos)
        self._hints = DriverHints(
            lambda text: channel.send_event("note", text=text),
            dialect,
            REVISIONS.values(),
            build.shell,
            build.layout,
            build.num_fifos,
        )
        self._hints.call_later = function.readiness.call_later
        function.system.trace.on_entry = self._message
        # First in the list: the event is sent before the guest gets the interrupt.
        function.bus_master.on_interrupt.insert(0, self._interrupt)
        function.bus_master.on_refused = self._refused
        function.system.monitor.on_violation = lambda violation: channel.send_event(
            "error", text=f"the gateware violated a rule: {violation}"
        )
        self._texts: dict[ServedDevice, ConsoleText] = {}
        for place, served, _ in devices.consoles():
            self._plugged(place, served)
        self._commands = DeviceCommands(
            function.system.device_side, devices, dialect, folder=folder
        )
        self._commands.on_plugged = self._plugged
        self._commands.on_unplugged = self._unplugged
        function.readiness.watch(channel.fileno(), self._read_input)
        self._server = VfioUserServer(listener, function, function.readiness)
        self._server.on_client = self._client
        self._server.on_access = self._access
        self._server.on_error = lambda text: channel.send_event("error", text=text)

    async def run(self) -> None:
        """Start the function and serve it.

        Raises
        ------
        ScenarioStopped
            The command has requested the end.
        """
        await self._function.start()
        self._channel.send_event("listening")
        await self._server.run()

    def listen(self, listener: socket.socket) -> ControlSocket:
        """Accept lines from the clients of a control socket as well."""
        return ControlSocket(listener, self._function.readiness, self._execute_line)

    def end(self) -> None:
        """Show the unfinished lines of all consoles."""
        for text in self._texts.values():
            text.end()

    def report(self) -> dict[str, Any]:
        """Totals over all clients."""
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
            "devices": self._devices.report(),
            "dropped_messages": self._dropped(),
        }

    def _dropped(self) -> list[dict[str, int]]:
        """For each FIFO, the number of dropped messages by reason."""
        transports = self._function.system.device_side.transports
        return [
            {reason.value: count for reason, count in transport.drops.items()}
            for transport in transports
        ]

    # Operator input

    def _read_input(self) -> None:
        items = self._channel.receive()
        if items is None:
            raise ScenarioStopped
        for item in items:
            if "command" in item:
                self._execute(item["command"], self._answer_sender(item["number"]))
            else:
                self._type(item["text"])

    def _answer_sender(self, number: int | None = None) -> Answer:
        return lambda done, text: self._channel.send_event(
            "answer", done=done, text=text, number=number
        )

    def _execute_line(self, line: str, answer: Answer) -> None:
        """Execute a script's line; the operator sees the answers to commands, too."""
        answer_operator = self._answer_sender()

        def answer_both(done: bool, text: str) -> None:
            answer_operator(done, text)
            answer(done, text)

        def typed(text: str) -> None:
            self._type(text)
            answer(True, "typed")

        splitter = TypedText(typed, lambda command: self._execute(command, answer_both))
        splitter.feed(f"{line}\n".encode())

    def _execute(self, command: str, answer: Answer) -> None:
        async def run() -> None:
            try:
                done, text = True, await self._commands.run(command)
            except Exception as error:
                # The command is refused, or a device fails: the server continues.
                done, text = False, str(error) or type(error).__name__
            answer(done, text)

        self._function.system.runtime.spawn(run())

    def _type(self, text: str) -> None:
        for _, served, console in self._devices.consoles():
            # Drop input once the buffer is full.
            if console.waiting < MOST_TYPED:
                data = text.encode(errors="replace")
                served.typed += len(data)
                console.type(data)

    def _plugged(self, place: Place, served: ServedDevice) -> None:
        if isinstance(served.device, ConsoleDevice):
            text = self._make_console_text(*place)
            text.call_later = self._function.readiness.call_later
            served.device.output_observers.append(text)
            self._texts[served] = text

    def _unplugged(self, served: ServedDevice) -> None:
        text = self._texts.pop(served, None)
        if text is not None:
            text.end()

    # Events of clients and devices

    def _client(self, state: str, reason: str) -> None:
        # The next guest starts with a new character and a new line.
        for text in self._texts.values():
            text.end()
        self._hints.reset()
        if self._refusals > MOST_REFUSALS:
            count = self._refusals - MOST_REFUSALS
            self._channel.send_event(
                "error", text=f"{count:,} more requests to unmapped memory are refused"
            )
        self._refusals = 0
        self._channel.send_event("client", state=state, reason=reason)

    def _message(self, entry: TraceEntry) -> None:
        self._messages[entry.direction] += 1
        # Discard the entry: a server runs indefinitely; the trace file keeps messages.
        self._function.system.trace.entries.clear()
        if entry.message is not None:
            self._devices.note(entry.direction, entry.fifo, entry.message)
        if entry.direction is Direction.TO_DEVICE:
            self._hints.to_device(entry.fifo, entry.raw)
        else:
            self._hints.to_driver(entry.fifo, entry.raw)
        if self._trace is not None:
            self._write(self._trace, json.dumps(entry.to_json()))
        if not self._quiet:
            self._channel.send_event(
                "message",
                time_ns=entry.time_ns,
                direction=entry.direction,
                fifo=entry.fifo,
                text=entry.description
                if entry.message is None
                else describe(entry.message, brief=True),
            )

    def _access(self, verb: Verb, region: int, offset: int, data: bytes) -> None:
        if verb is Verb.READ:
            self._hints.read(region, offset, len(data))
        if self._accesses is None:
            return
        if region == wire.CONFIG_REGION:
            where, name = "config", self._names.config(offset, data)
        else:
            where, name = f"BAR{region}", self._names.bar(region, offset, data)
        # In memory order, as in the message trace.
        shown_bytes = data[:SHOWN_BYTES].hex() + ("…" if len(data) > SHOWN_BYTES else "")
        self._write(
            self._accesses,
            f"{self._function.system.time_ns:>14.1f} ns  {verb:<5}  {where:<6}  {offset:#06x}  "
            f"{len(data):>4}  {shown_bytes:<16}  {name}",
        )

    def _write(self, file: TextIO, line: str) -> None:
        try:
            file.write(line + "\n")
            file.flush()
        except OSError as error:
            self._channel.send_event(
                "error", text=f"{file.name}: {error.strerror}; the file is closed"
            )
            with contextlib.suppress(OSError):
                file.close()
            if file is self._trace:
                self._trace = None
            else:
                self._accesses = None

    def _interrupt(self, vector: int) -> None:
        if not self._quiet:
            self._channel.send_event(
                "interrupt", time_ns=self._function.system.time_ns, vector=vector
            )

    def _refused(self, request: Tlp) -> None:
        self._refusals += 1
        if self._refusals <= MOST_REFUSALS:
            reason = "unmapped memory" if self._server.has_client else "the client is disconnected"
            self._channel.send_event("error", text=f"{reason}: {request} is refused")

    def _make_console_text(self, fifo: int, number: int) -> ConsoleText:
        return ConsoleText(
            lambda text: self._channel.send_event("console", fifo=fifo, dev_num=number, text=text)
        )
