# SPDX-License-Identifier: BSD-2-Clause
"""A vfio-user server on a listening socket: one client at a time, the function reset for each."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ...errors import CommandFailedError
from ..bridge.files import Readiness
from ..bridge.function import PciFunction
from .channel import Channel, ChannelClosedError, FramingError
from .checks import VersionError
from .session import ClientSession, OnAccess, SessionStatistics

LONGEST_PATH = 107
"""Bytes of the longest path of a Unix socket."""


class SocketError(CommandFailedError):
    """The server cannot listen at a path; the text gives the reason."""


@contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    """Listen on a socket at ``path`` during the context; removes it at the end.

    Replaces the socket of a server that has ended.

    Raises
    ------
    SocketError
        Another server listens there, the file is not a socket, or the path cannot be used.
    """
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise SocketError(f"{path}: a socket's path has {LONGEST_PATH} bytes at most")
    listener = socket.socket(socket.AF_UNIX)
    try:
        _remove_stale(path)
        try:
            listener.bind(str(path))
        except OSError as error:
            raise SocketError(f"{path}: {error.strerror}") from None
        inode = path.lstat().st_ino
        try:
            listener.listen(1)
            yield listener
        finally:
            # Keep a file that has replaced the socket.
            with contextlib.suppress(FileNotFoundError):
                if path.lstat().st_ino == inode:
                    path.unlink()
    finally:
        listener.close()


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise SocketError(f"{path}: {error.strerror}") from None
    if not stat.S_ISSOCK(mode):
        raise SocketError(f"{path} exists and is not a socket")
    with socket.socket(socket.AF_UNIX) as probe:
        # A full backlog (BlockingIOError) also shows that a server listens.
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:
            pass
        except OSError as error:
            raise SocketError(f"{path}: {error.strerror}") from None
    raise SocketError(f"{path}: a server listens there already")


class VfioUserServer:
    """Serves a function to clients, one at a time.

    A second client is disconnected. When a session ends, for whatever reason, the function is
    restarted before the next client is served.

    Parameters
    ----------
    listener
        The listening socket.
    function
        The served function.
    readiness
        Waits for the sockets.

    Attributes
    ----------
    statistics
        Counters over all clients.
    on_client
        Called with ``connected``, or with ``disconnected`` and the reason.
    on_access, on_error
        As those of :class:`~sim.vm.vfio_user.session.ClientSession`.
    """

    def __init__(
        self, listener: socket.socket, function: PciFunction, readiness: Readiness
    ) -> None:
        listener.setblocking(False)
        self._listener = listener
        self._function = function
        self._readiness = readiness
        self._channel: Channel | None = None
        self.statistics = SessionStatistics()
        self.on_client: Callable[[str, str], None] = lambda state, reason: None
        self.on_access: OnAccess = lambda verb, region, offset, data: None
        self.on_error: Callable[[str], None] = lambda text: None

    @property
    def has_client(self) -> bool:
        """Whether a client is connected; its memory is unmapped when it disconnects."""
        return self._channel is not None

    async def run(self) -> None:
        """Serve until a listener of ``readiness`` raises an exception."""
        while True:
            await self._readiness.readable(self._listener.fileno())
            connection = self._accept()
            if connection is not None:
                await self._serve(connection)

    def _accept(self) -> socket.socket | None:
        try:
            return self._listener.accept()[0]
        except OSError:
            # The client has disconnected already, or the process has no free file descriptor.
            return None

    async def _serve(self, connection: socket.socket) -> None:
        self._channel = channel = Channel(connection, self._readiness)
        session = ClientSession(channel, self._function, self._readiness, self.statistics)
        session.on_access, session.on_error = self.on_access, self.on_error
        self._readiness.watch(self._listener.fileno(), self._refuse_second)
        self.on_client("connected", "")
        reason = ""
        try:
            await session.run()
        except (ChannelClosedError, FramingError, VersionError) as error:
            reason = str(error)
        finally:
            self._readiness.unwatch(self._listener.fileno())
            self._channel = None
            session.close()
        await self._function.restart()
        self.on_client("disconnected", reason)

    def _refuse_second(self) -> None:
        """Disconnect a second client, unless the first has already ended its connection."""
        assert self._channel is not None
        if self._channel.peer_has_ended:
            # The next client is accepted once the first one's remaining requests are done.
            self._readiness.unwatch(self._listener.fileno())
            return
        connection = self._accept()
        if connection is not None:
            connection.close()
            self.on_error("a second client was disconnected: only one is served at a time")
