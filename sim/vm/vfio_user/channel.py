# SPDX-License-Identifier: BSD-2-Clause
"""Messages over a Unix socket: framing, file descriptors, and what cannot be a message."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
from collections.abc import Callable

from ..bridge.files import Readiness, is_ready
from .wire import HEADER, MOST_BYTES, MOST_FILES, ClientMessage

MOST_IN_A_ROW = 32
"""Messages that are taken before others have a turn."""
FILE = struct.Struct("=i")
ROOM_FOR_FILES = socket.CMSG_SPACE(MOST_FILES * FILE.size)


class ChannelClosedError(Exception):
    """The other end has gone."""


class FramingError(Exception):
    """What comes is no message, so that nobody knows where the next one begins.

    Attributes
    ----------
    header
        The message's header, if there is one: id and command.
    """

    def __init__(self, text: str, header: tuple[int, int]) -> None:
        super().__init__(text)
        self.header = header


class Channel:
    """One end of a connection. The socket does not block; who waits does so elsewhere.

    A Unix socket gives files with the first byte that they were sent with (unix(7)), so each
    message's header is read by itself: the files that come with it are the message's. Its payload
    is read without room for files, and the kernel closes those that come with it.

    Parameters
    ----------
    connection
        The socket, owned from here on.
    readiness
        How to wait for it.
    """

    def __init__(self, connection: socket.socket, readiness: Readiness) -> None:
        connection.setblocking(False)
        self._socket = connection
        self._readiness = readiness
        # Of the message whose header is being read.
        self._files: list[int] = []
        self._lost_files = False
        self._in_a_row = 0

    def close(self) -> None:
        """Close the socket, and every file that nobody has taken."""
        self._socket.close()
        close_all(self._files)

    @property
    def other_has_ended(self) -> bool:
        """Whether the other end sends nothing more; what it sent may still be here."""
        return is_ready(self._socket.fileno(), select.POLLRDHUP)

    async def receive(self) -> ClientMessage:
        """The next message.

        Raises
        ------
        ChannelClosedError
            The other end closed the connection, perhaps within a message.
        FramingError
            Its header has a size that no message has.
        """
        # A client that sends without end must not keep others from their turn.
        self._in_a_row += 1
        if self._in_a_row == MOST_IN_A_ROW:
            await self._wait()
        header = await self._read(HEADER.size, self._take_header)
        number, command, size, flags, error = HEADER.unpack(header)
        if not HEADER.size <= size <= MOST_BYTES:
            raise FramingError(
                f"size is {size}: must be {HEADER.size} to {MOST_BYTES}", (number, command)
            )
        payload = await self._read(size - HEADER.size, self._socket.recv)
        files, self._files = self._files, []
        lost, self._lost_files = self._lost_files, False
        return ClientMessage(
            id=number,
            command=command,
            flags=flags,
            error=error,
            payload=payload,
            files=files,
            lost_files=lost,
        )

    async def send(self, message: ClientMessage) -> None:
        """Send a message.

        Raises
        ------
        ChannelClosedError
            The other end has gone.
        """
        data = memoryview(message.pack())
        while data:
            try:
                data = data[self._socket.send(data) :]
            except BlockingIOError:
                if self.other_has_ended:
                    raise ChannelClosedError("the other end takes no replies") from None
                await self._readiness.writable(self._socket.fileno())
            except OSError as error:
                raise ChannelClosedError(str(error)) from None

    async def _read(self, count: int, take: Callable[[int], bytes]) -> bytes:
        """Exactly ``count`` bytes, from ``take``, which gives up to as many as it is asked for."""
        data = b""
        while len(data) < count:
            try:
                piece = take(count - len(data))
            except BlockingIOError:
                await self._wait()
                continue
            except OSError as error:
                raise ChannelClosedError(str(error)) from None
            if not piece:
                raise ChannelClosedError("the other end closed the connection")
            data += piece
        return data

    async def _wait(self) -> None:
        self._in_a_row = 0
        await self._readiness.readable(self._socket.fileno())

    def _take_header(self, room: int) -> bytes:
        data, ancillary, flags, _ = self._socket.recvmsg(room, ROOM_FOR_FILES)
        for level, kind, packed in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                whole = packed[: len(packed) - len(packed) % FILE.size]
                self._files += (file for (file,) in FILE.iter_unpack(whole))
        surplus = self._files[MOST_FILES:]
        del self._files[MOST_FILES:]
        self._lost_files |= bool(surplus) or bool(flags & socket.MSG_CTRUNC)
        close_all(surplus)
        return data


def close_all(files: list[int]) -> None:
    """Close and forget ``files``."""
    while files:
        with contextlib.suppress(OSError):
            os.close(files.pop())
