# SPDX-License-Identifier: BSD-2-Clause
"""The control socket: scripts send commands, one per line, and each gets an answer.

A client of the Unix socket sends lines as they could be typed at the server. Each line of an answer
begins with ``ok`` or ``error``; only the answer to ``!help`` has several lines.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

from ...shown import shown
from ..bridge.files import Readiness
from .typed import LONGEST_COMMAND

RETRY_S = 0.01
"""Delay before another attempt to send to a client that does not read its answer."""
MOST_RETRIES = 500
"""Attempts before the connection is closed."""
MOST_CLIENTS = 16
"""Clients at a time; further connections are closed."""

Answer = Callable[[bool, str], None]
"""Called once for each line: whether it succeeded, and the text of the answer."""


class ControlSocket:
    """Serves the clients of a listening socket.

    Parameters
    ----------
    listener
        The socket.
    readiness
        Reports sockets that can be read.
    run
        Called with each line, and with the function that answers it.
    """

    def __init__(
        self, listener: socket.socket, readiness: Readiness, run: Callable[[str, Answer], None]
    ) -> None:
        listener.setblocking(False)
        self._listener = listener
        self._readiness = readiness
        self._run = run
        self._clients: set[_Client] = set()
        readiness.watch(listener.fileno(), self._accept)

    def close(self) -> None:
        """Close every connection."""
        self._readiness.unwatch(self._listener.fileno())
        for client in tuple(self._clients):
            client.close()

    def _accept(self) -> None:
        try:
            connection = self._listener.accept()[0]
        except OSError:
            # The client has disconnected already, or the process has no free file descriptor.
            return
        if len(self._clients) >= MOST_CLIENTS:
            connection.close()
            return
        client = _Client(connection, self._readiness, self._run, self._clients.discard)
        self._clients.add(client)


class _Client:
    """A connection. Executes one line at a time and reads nothing meanwhile."""

    def __init__(
        self,
        connection: socket.socket,
        readiness: Readiness,
        run: Callable[[str, Answer], None],
        closed: Callable[[_Client], None],
    ) -> None:
        connection.setblocking(False)
        self._socket = connection
        self._readiness = readiness
        self._run = run
        self._closed = closed
        self._received = b""
        self._end_of_input = False
        self._open = True
        self._watching = False
        self._answering = False
        self._executing = False
        self._unsent = b""
        self._retries = 0
        self._resume_reading()

    def close(self) -> None:
        """Close the connection."""
        if self._open:
            self._open = False
            self._stop_reading()
            self._socket.close()
            self._closed(self)

    def _resume_reading(self) -> None:
        self._watching = True
        self._readiness.watch(self._socket.fileno(), self._read)

    def _stop_reading(self) -> None:
        if self._watching:
            self._watching = False
            self._readiness.unwatch(self._socket.fileno())

    def _read(self) -> None:
        try:
            data = self._socket.recv(LONGEST_COMMAND)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        self._stop_reading()
        # The last line may have no line end; the client still waits for its answer.
        self._end_of_input = not data
        self._received += data or (b"\n" if self._received else b"")
        self._execute_lines()

    def _execute_lines(self) -> None:
        """Execute the received lines, until one is not answered at once."""
        if self._executing:
            return
        self._executing = True
        while self._open and not self._answering:
            line, end, rest = self._received.partition(b"\n")
            if end:
                self._received = rest
                self._answering = True
                self._run(line.decode(errors="replace"), self._answer)
            elif len(line) > LONGEST_COMMAND:
                self._received, self._end_of_input = b"", True
                self._answering = True
                self._answer(
                    False, f"line has {len(line)} bytes: must be {LONGEST_COMMAND} at most"
                )
            elif self._end_of_input:
                self.close()
            else:
                self._resume_reading()
                break
        self._executing = False

    def _answer(self, done: bool, text: str) -> None:
        word = "ok" if done else "error"
        self._unsent = "".join(f"{word} {shown(line)}\n" for line in text.split("\n")).encode()
        self._retries = 0
        self._send()

    def _send(self) -> None:
        """Send the rest of an answer; the next line is executed after that."""
        if not self._open:
            return
        try:
            self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        if not self._unsent:
            self._answering = False
            self._execute_lines()
        elif self._retries == MOST_RETRIES:
            self.close()
        else:
            self._retries += 1
            self._readiness.call_later(RETRY_S, self._send)
