# SPDX-License-Identifier: BSD-2-Clause
"""What the endpoint saw last: the ends of the files of messages and accesses, and their verdict."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.bus import Direction
from models.messages import Message, decode, describe

READ_BYTES = 1 << 20
"""Bytes at the end of a file that are considered."""
SHOWN_MESSAGES, SHOWN_ACCESSES = 8, 12
SHOWN_OF_DEVICE = 4
"""Last messages of each device that are shown, although others have later ones."""
ACCESS_TIME = re.compile(r"\s*([\d.]+) ns")


@dataclass
class EndpointView:
    """The end of the traffic.

    Attributes
    ----------
    stopped
        Which side stopped first, in a sentence.
    messages, accesses
        The last ones, a line each.
    """

    stopped: str
    messages: list[str] = field(default_factory=list)
    accesses: list[str] = field(default_factory=list)


@dataclass
class _Traffic:
    """State of the exchange after some messages.

    Attributes
    ----------
    outstanding
        Requests without a response, as text, by FIFO, device and token.
    available
        Queues with an EVENT_AVAIL that no EVENT_USED follows, by FIFO, device and queue.
    last
        The last message to the driver: its time and text.
    lines
        All messages: the place of the device, and a line.
    """

    outstanding: dict[tuple[Any, ...], str] = field(default_factory=dict)
    available: dict[tuple[Any, ...], str] = field(default_factory=dict)
    last: tuple[float, str] | None = None
    lines: list[tuple[tuple[Any, ...], str]] = field(default_factory=list)

    def last_lines(self) -> list[str]:
        """The last lines, and those of each device, in order."""
        shown = set(range(max(0, len(self.lines) - SHOWN_MESSAGES), len(self.lines)))
        of_device: dict[tuple[Any, ...], int] = {}
        for index in reversed(range(len(self.lines))):
            place = self.lines[index][0]
            of_device[place] = of_device.get(place, 0) + 1
            if of_device[place] <= SHOWN_OF_DEVICE:
                shown.add(index)
        return [self.lines[index][1] for index in sorted(shown)]


def view(trace: Path, accesses: Path, revision: str) -> EndpointView:
    """The end of the traffic in the files of a server.

    Parameters
    ----------
    trace, accesses
        The files.
    revision
        Wire revision of the messages.
    """
    traffic = _follow(_entries(last_lines(trace)), revision)
    access_lines = last_lines(accesses)
    return EndpointView(
        _verdict(traffic, access_lines),
        traffic.last_lines(),
        [line.strip() for line in access_lines[-SHOWN_ACCESSES:]],
    )


def last_lines(path: Path) -> list[str]:
    """The complete lines in the last :data:`READ_BYTES` of a file; none if it does not exist."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - READ_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    lines = text.split("\n")[:-1]
    return lines[1:] if size > READ_BYTES else lines


def _entries(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            yield entry


def _follow(entries: Iterable[dict[str, Any]], revision: str) -> _Traffic:
    traffic = _Traffic()
    for entry in entries:
        to_device = entry.get("direction") == Direction.TO_DEVICE.value
        arrow = "driver ─► device" if to_device else "driver ◄─ device"
        time_ns = float(entry.get("time_ns", 0.0))
        message: Message | None = None
        try:
            message = decode(bytes.fromhex(str(entry.get("raw"))), revision)
            text = describe(message, brief=True)
        except ValueError:
            text = f"not a message of {revision}: {entry.get('raw')}"
        place = (
            entry.get("fifo", 0),
            message is None or message.bus,
            0 if message is None else message.dev_num,
        )
        traffic.lines.append((place, f"{time_ns:>14.1f} ns  {arrow}  {text}"))
        if not to_device:
            traffic.last = (time_ns, text)
        if message is not None:
            _note(traffic, place, message, text, to_device)
    return traffic


def _note(
    traffic: _Traffic, place: tuple[Any, ...], message: Message, text: str, to_device: bool
) -> None:
    if message.kind.value == "request" and to_device:
        traffic.outstanding[(*place, message.layout.msg_id, message.token)] = text
    elif message.kind.value == "response":
        traffic.outstanding.pop((*place, message.layout.msg_id, message.token), None)
    elif message.role == "EVENT_AVAIL":
        traffic.available[(*place, message.number("index"))] = text
    elif message.role == "EVENT_USED":
        traffic.available.pop((*place, message.number("index")), None)


def _verdict(traffic: _Traffic, accesses: list[str]) -> str:
    """Which side stopped first."""
    if traffic.outstanding:
        text = next(reversed(traffic.outstanding.values()))
        return f"the endpoint stopped first: it has not answered {text}"
    if not traffic.lines:
        return "the guest stopped first: it has sent no message"
    if traffic.last is not None:
        times = (ACCESS_TIME.match(line) for line in accesses)
        latest = max((float(found[1]) for found in times if found), default=0.0)
        if latest < traffic.last[0]:
            return f"the guest stopped first: it has not fetched {traffic.last[1]}"
    text = "the guest stopped first: every request is answered, and every message fetched"
    if traffic.available:
        pending = next(reversed(traffic.available.values()))
        text += f"; no EVENT_USED follows {pending}, which is usual for a queue that receives"
    return text
