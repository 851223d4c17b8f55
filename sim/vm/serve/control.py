# SPDX-License-Identifier: BSD-2-Clause
"""The channel between the command and its simulation: events one way, input the other.

A Unix socket that carries one JSON object per line. Each end notices at once when the other ends,
for whatever reason, so no simulation outlives its command.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

CONTROL = "SERVE_CONTROL"
"""Environment variable: the path of the socket that the simulation connects to."""


MOST_FILES = 2
"""Files sent with the first object: the listening sockets of clients and of scripts."""


class ControlChannel:
    """One end of the channel.

    Parameters
    ----------
    connection
        The socket; the channel closes it.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        # Several threads of the command send; the lock keeps objects whole.
        self._send_lock = threading.Lock()
        self._received = b""

    @classmethod
    def connect(cls, path: str) -> ControlChannel:
        """Connect the simulation's end to the socket at ``path``."""
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(path)
        return cls(connection)

    def fileno(self) -> int:
        """The socket's file descriptor."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close this end."""
        self._socket.close()

    def end_sending(self) -> None:
        """Signal the other end that this one sends nothing more."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def send_event(self, kind: str, **facts: Any) -> None:
        """Send an event; it is dropped if the other end is closed."""
        self.send({"kind": kind, **facts})

    def send(self, item: dict[str, Any], files: tuple[int, ...] = ()) -> None:
        """Send an object and files; they are dropped if the other end is closed."""
        data = json.dumps(item).encode() + b"\n"
        # The connection may be broken, reset, or closed at this end.
        with self._send_lock, contextlib.suppress(OSError):
            if files:
                data = data[socket.send_fds(self._socket, [data], files) :]
            self._socket.sendall(data)

    def receive_first(self) -> tuple[dict[str, Any], list[int]]:
        """Receive the first object, and the files sent with it.

        Raises
        ------
        EOFError
            The other end is closed.
        """
        files: list[int] = []
        while b"\n" not in self._received:
            data, new_files, _, _ = socket.recv_fds(self._socket, 1 << 16, MOST_FILES)
            if not data:
                raise EOFError("the other end is closed")
            files += new_files
            self._received += data
        line, self._received = self._received.split(b"\n", 1)
        return json.loads(line), files

    def receive(self) -> list[dict[str, Any]] | None:
        """Wait for objects and return those received; ``None`` at the end."""
        try:
            data = self._socket.recv(1 << 16)
        except ConnectionResetError:
            return None
        if not data:
            return None
        *lines, self._received = (self._received + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        while (items := self.receive()) is not None:
            yield from items
