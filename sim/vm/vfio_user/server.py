# SPDX-License-Identifier: BSD-2-Clause
"""A vfio-user server on a listening socket: one client at a time, each meets a fresh function."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..bridge.files import Readiness
from ..bridge.function import PciFunction
from .channel import Channel, ChannelClosedError, FramingError
from .checks import VersionError
from .session import ClientSession, OnAccess, SessionStatistics

LONGEST_PATH = 107
"""Bytes of a Unix socket's path."""


class SocketError(RuntimeError):
    """The server cannot listen there; the text says why."""


@contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    """A socket that listens at ``path``, which is gone afterwards.

    One that a server left behind is replaced.

    Raises
    ------
    SocketError
        Somebody else listens there, there is something else than a socket, or the path will not do.
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
        own = path.lstat().st_ino
        try:
            listener.listen(1)
            yield listener
        finally:
            # Unless somebody has put another one there.
            with contextlib.suppress(FileNotFoundError):
                if path.lstat().st_ino == own:
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
        raise SocketError(f"{path} is there, and is no socket")
    with socket.socket(socket.AF_UNIX) as probe:
        # One that is too busy to take another client is a server, too.
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
    """Serves a function to whoever connects, one at a time.

    A second client that comes meanwhile is turned away. When one goes, for whatever reason, the
    function is restarted before the next one meets it.

    Parameters
    ----------
    listener
        The listening socket.
    function
        What is served.
    readiness
        How to wait.

    Attributes
    ----------
    statistics
        What was done so far, for all clients.
    on_client
        Called with ``connected`` or ``gone``, and in the latter case with why.
    on_access, on_error
        As those of a :class:`~sim.vm.vfio_user.session.ClientSession`.
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
        self.on_client: Callable[[str, str], None] = lambda state, why: None
        self.on_access: OnAccess = lambda verb, region, offset, data: None
        self.on_error: Callable[[str], None] = lambda text: None

    @property
    def has_client(self) -> bool:
        """Whether a client is there; its memory is gone with it."""
        return self._channel is not None

    async def run(self) -> None:
        """Serve, until an exception of a listener of ``readiness`` ends it."""
        while True:
            await self._readiness.readable(self._listener.fileno())
            connection = self._accept()
            if connection is not None:
                await self._serve(connection)

    def _accept(self) -> socket.socket | None:
        try:
            return self._listener.accept()[0]
        except OSError:
            # It went before it was seen, or there is no room for a file more.
            return None

    async def _serve(self, connection: socket.socket) -> None:
        self._channel = channel = Channel(connection, self._readiness)
        session = ClientSession(channel, self._function, self._readiness, self.statistics)
        session.on_access, session.on_error = self.on_access, self.on_error
        self._readiness.watch(self._listener.fileno(), self._turn_away)
        self.on_client("connected", "")
        why = ""
        try:
            await session.run()
        except (ChannelClosedError, FramingError, VersionError) as error:
            why = str(error)
        finally:
            self._readiness.forget(self._listener.fileno())
            self._channel = None
            session.close()
        await self._function.restart()
        self.on_client("gone", why)

    def _turn_away(self) -> None:
        """Somebody connects while a client is there: unless that has gone, it has to go."""
        assert self._channel is not None
        if self._channel.other_has_ended:
            # The next one's turn comes when what the first left behind is done.
            self._readiness.forget(self._listener.fileno())
            return
        second = self._accept()
        if second is not None:
            second.close()
            self.on_error("a second client was turned away: there is room for one")
