# SPDX-License-Identifier: BSD-2-Clause
"""The line between the command and its simulation: events one way, wishes and commands the other.

A Unix socket that carries a JSON object a line. Either end sees at once when the other has gone,
for whatever reason: no simulation outlives its command.
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
"""That come with the first object: the listening sockets of clients, and of scripts."""


class ControlChannel:
    """One end.

    Parameters
    ----------
    connection
        The socket, owned from here on.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        # Threads of the command send, too, and an object is whole.
        self._sending = threading.Lock()
        self._rest = b""

    @classmethod
    def connect(cls, path: str) -> ControlChannel:
        """The simulation's end."""
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(path)
        return cls(connection)

    def fileno(self) -> int:
        """The socket's file descriptor."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close this end."""
        self._socket.close()

    def finish(self) -> None:
        """Say that nothing more comes from here."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def tell(self, kind: str, **facts: Any) -> None:
        """Send an object; one that nobody is there for is dropped."""
        self.send({"kind": kind, **facts})

    def send(self, item: dict[str, Any], files: tuple[int, ...] = ()) -> None:
        """Send an object and files; what nobody is there for is dropped."""
        data = json.dumps(item).encode() + b"\n"
        # Broken, reset, or closed here.
        with self._sending, contextlib.suppress(OSError):
            if files:
                data = data[socket.send_fds(self._socket, [data], files) :]
            self._socket.sendall(data)

    def first(self) -> tuple[dict[str, Any], list[int]]:
        """The first object, and the files that came with it.

        Raises
        ------
        EOFError
            The other end has gone.
        """
        files: list[int] = []
        while b"\n" not in self._rest:
            data, more, _, _ = socket.recv_fds(self._socket, 1 << 16, MOST_FILES)
            if not data:
                raise EOFError("the other end has gone")
            files += more
            self._rest += data
        line, self._rest = self._rest.split(b"\n", 1)
        return json.loads(line), files

    def take(self) -> list[dict[str, Any]] | None:
        """The objects that have come, after waiting for something; ``None`` at the end."""
        try:
            data = self._socket.recv(1 << 16)
        except ConnectionResetError:
            return None
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        while (items := self.take()) is not None:
            yield from items
