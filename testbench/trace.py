# SPDX-License-Identifier: BSD-2-Clause
"""Message trace: time, direction, FIFO, bytes and decoded fields of every message.

Attached to the device-side streams, it records the messages that the design transferred rather
than those that software sent. It writes JSON lines and aligned text.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.bus import Direction
from models.messages import Dialect

Decoder = Callable[[bytes, "str | Dialect"], Any]
Describer = Callable[[Any], str]


@dataclass(frozen=True)
class TraceEntry:
    """One message.

    Parameters
    ----------
    time_ns
        Simulation time at which the last beat was accepted.
    direction
        :class:`~models.bus.Direction`.
    fifo
        Number of the FIFO.
    raw
        The bytes.
    message
        The decoded message, ``None`` if decoding failed.
    description
        One line of text.
    error
        Why decoding failed.
    """

    time_ns: float
    direction: Direction
    fifo: int
    raw: bytes
    message: Any = None
    description: str = ""
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The entry as plain data: the decoded fields under ``message``, or ``error``."""
        entry: dict[str, Any] = {
            "time_ns": self.time_ns,
            "direction": self.direction,
            "fifo": self.fifo,
            "raw": self.raw.hex(),
        }
        if self.error is not None:
            entry["error"] = self.error
        elif self.message is not None:
            entry["message"] = self.message.to_json()
        return entry

    def __str__(self) -> str:
        return f"{self.time_ns:>12.1f} ns  {self.direction}  fifo {self.fifo}  {self.description}"


class MessageTrace:
    """Collects messages and decodes them.

    Parameters
    ----------
    revision
        Wire revision to decode with.
    decode
        ``decode(raw, revision)`` returns an object with ``to_json()``, or raises. The default is
        the decoder of :mod:`models.messages`.
    describe
        ``describe(message)`` returns one line of text.
    now
        Returns the simulation time in ns; the default is cocotb's.
    on_entry
        Called with each new entry.

    Attributes
    ----------
    entries
        All entries, oldest first.
    """

    def __init__(
        self,
        *,
        revision: str | Dialect = "v1",
        decode: Decoder | None = None,
        describe: Describer | None = None,
        now: Callable[[], float] | None = None,
        on_entry: Callable[[TraceEntry], None] | None = None,
    ) -> None:
        self.revision = revision
        self._decode = decode
        self._describe = describe
        if decode is None or describe is None:
            from models import messages

            self._decode = decode or messages.decode
            self._describe = describe or messages.describe
        self._now = now
        self.on_entry = on_entry
        self.entries: list[TraceEntry] = []

    def record(self, direction: Direction, fifo: int, raw: bytes) -> TraceEntry:
        """Record the message ``raw``; if it cannot be decoded, as hex with the reason."""
        message, error = None, None
        try:
            assert self._decode is not None and self._describe is not None
            message = self._decode(raw, self.revision)
            description = self._describe(message)
        except Exception as reason:
            # Keep the bytes of every message, whatever exception the decoder raises.
            message, error = None, str(reason) or type(reason).__name__
            description = f"{raw.hex()}  ({error})"
        entry = TraceEntry(self._time(), direction, fifo, raw, message, description, error)
        self.entries.append(entry)
        if self.on_entry is not None:
            self.on_entry(entry)
        return entry

    def attach(
        self,
        dut: Any,
        *,
        to_device: str | None = "m_axis_msg",
        to_driver: str | None = "s_axis_msg",
        clk: Any = None,
        reset: Any = None,
    ) -> None:
        """Record the packets on the streams of ``dut`` with these prefixes.

        ``None`` omits a stream. The watchers also check the protocol of the streams.
        """
        # Imported here: :meth:`record` works without cocotb.
        from .stream.axis import AxisMessageWatcher

        for prefix, direction in (
            (to_device, Direction.TO_DEVICE),
            (to_driver, Direction.TO_DRIVER),
        ):
            if prefix is not None:
                listener = self._listener(direction)
                AxisMessageWatcher(dut, prefix, clk=clk, reset=reset, on_packet=listener)

    def _listener(self, direction: Direction) -> Callable[[Any], None]:
        def listen(message: Any) -> None:
            self.record(direction, message.fifo, message.data)

        return listen

    def count(self, direction: Direction) -> int:
        """Number of messages recorded in ``direction``."""
        return sum(entry.direction == direction for entry in self.entries)

    def write_json_lines(self, path: Path | str) -> None:
        """Write the trace as JSON lines, one object for each message."""
        lines = (json.dumps(entry.to_json(), ensure_ascii=False) for entry in self.entries)
        _write(path, lines)

    def write_text(self, path: Path | str) -> None:
        """Write the trace as text, one line for each message."""
        _write(path, (str(entry) for entry in self.entries))

    def _time(self) -> float:
        if self._now is None:
            from cocotb.utils import get_sim_time

            return float(get_sim_time("ns"))
        return self._now()


def _write(path: Path | str, lines: Any) -> None:
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
