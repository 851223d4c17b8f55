# SPDX-License-Identifier: BSD-2-Clause
"""A vfio-user server on a listening socket: one client at a time, each meets a fresh function."""

from __future__ import annotations

import os
import select
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..bridge.files import Readiness
from ..bridge.function import PciFunction
from .channel import Channel, ChannelClosedError, FramingError
from .checks import VersionError
from .session import Session, Statistics, Verb

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
        try:
            listener.listen(1)
            yield listener
        finally:
            path.unlink(missing_ok=True)
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
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
        except OSError as error:
            raise SocketError(f"{path}: {error.strerror}") from None
        else:
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
        As those of a :class:`~sim.vfio_user.session.Session`.
    """

    def __init__(
        self, listener: socket.socket, function: PciFunction, readiness: Readiness
    ) -> None:
        listener.setblocking(False)
        self._listener = listener
        self._function = function
        self._readiness = readiness
        self._connection: socket.socket | None = None
        self.statistics = Statistics()
        self.on_client: Callable[[str, str], None] = lambda state, why: None
        self.on_access: Callable[[Verb, int, int, bytes], None] | None = None
        self.on_error: Callable[[str], None] = lambda text: None

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
        channel = Channel(connection, self._readiness)
        session = Session(channel, self._function, self.statistics)
        session.on_access, session.on_error = self.on_access, self.on_error
        self._connection = connection
        self._readiness.watch(self._listener.fileno(), self._turn_away)
        self.on_client("connected", "")
        why = ""
        try:
            await session.run()
        except (ChannelClosedError, FramingError, VersionError) as error:
            why = str(error)
        finally:
            self._readiness.forget(self._listener.fileno())
            session.close()
        await self._function.restart()
        self.on_client("gone", why)

    def _turn_away(self) -> None:
        """Somebody connects while a client is there: unless that has gone, it has to go."""
        assert self._connection is not None
        poll = select.poll()
        # It may have gone and left behind what is still to be done.
        poll.register(self._connection.fileno(), select.POLLRDHUP)
        if poll.poll(0):
            return
        second = self._accept()
        if second is not None:
            second.close()
            self.on_error("a second client was turned away: there is room for one")
