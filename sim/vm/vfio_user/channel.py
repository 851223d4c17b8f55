# SPDX-License-Identifier: BSD-2-Clause
"""Messages over a Unix socket: framing, file descriptors, framing errors."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
from collections.abc import Callable

from ..bridge.files import Readiness, is_ready
from .wire import HEADER, MOST_BYTES, MOST_FILES, ClientMessage

MOST_CONSECUTIVE = 32
"""Messages received before other listeners are served."""
FILE = struct.Struct("=i")
FILES_SPACE = socket.CMSG_SPACE(MOST_FILES * FILE.size)


class ChannelClosedError(Exception):
    """The other end has closed the connection."""


class FramingError(Exception):
    """The received bytes are not a message, so the start of the next one is unknown.

    Attributes
    ----------
    header
        Id and command of the message's header.
    """

    def __init__(self, text: str, header: tuple[int, int]) -> None:
        super().__init__(text)
        self.header = header


class Channel:
    """One end of a connection. The socket does not block; ``readiness`` waits for it.

    A Unix socket delivers files with the first byte that they were sent with (unix(7)), so each
    message's header is read separately: the files that arrive with it belong to the message. The
    payload is read without a buffer for files, so the kernel closes files that arrive with it.

    Parameters
    ----------
    connection
        The socket; the channel closes it.
    readiness
        Waits for the socket.
    """

    def __init__(self, connection: socket.socket, readiness: Readiness) -> None:
        connection.setblocking(False)
        self._socket = connection
        self._readiness = readiness
        # Files of the message whose header is being read.
        self._files: list[int] = []
        self._lost_files = False
        self._consecutive = 0

    def close(self) -> None:
        """Close the socket, and all files that were not handed out with a message."""
        self._socket.close()
        close_all(self._files)

    @property
    def peer_has_ended(self) -> bool:
        """Whether the other end sends nothing more; unread data may remain."""
        return is_ready(self._socket.fileno(), select.POLLRDHUP)

    async def receive(self) -> ClientMessage:
        """Receive the next message.

        Raises
        ------
        ChannelClosedError
            The other end closed the connection, perhaps within a message.
        FramingError
            The size in the header is invalid.
        """
        # A client that sends without pause must not starve other listeners.
        self._consecutive += 1
        if self._consecutive == MOST_CONSECUTIVE:
            await self._wait()
        header = await self._read(HEADER.size, self._receive_header)
        number, command, size, flags, error = HEADER.unpack(header)
        if not HEADER.size <= size <= MOST_BYTES:
            raise FramingError(
                f"size is {size}: must be {HEADER.size} to {MOST_BYTES}", (number, command)
            )
        payload = await self._read(size - HEADER.size, self._socket.recv)
        files, self._files = self._files, []
        lost_files, self._lost_files = self._lost_files, False
        return ClientMessage(
            id=number,
            command=command,
            flags=flags,
            error=error,
            payload=payload,
            files=files,
            lost_files=lost_files,
        )

    async def send(self, message: ClientMessage) -> None:
        """Send a message.

        Raises
        ------
        ChannelClosedError
            The other end has closed the connection.
        """
        data = memoryview(message.pack())
        while data:
            try:
                data = data[self._socket.send(data) :]
            except BlockingIOError:
                if self.peer_has_ended:
                    raise ChannelClosedError("the other end does not read replies") from None
                await self._readiness.writable(self._socket.fileno())
            except OSError as error:
                raise ChannelClosedError(str(error)) from None

    async def _read(self, count: int, receive: Callable[[int], bytes]) -> bytes:
        """Read exactly ``count`` bytes; ``take(n)`` returns at most n bytes."""
        data = b""
        while len(data) < count:
            try:
                piece = receive(count - len(data))
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
        self._consecutive = 0
        await self._readiness.readable(self._socket.fileno())

    def _receive_header(self, size: int) -> bytes:
        data, ancillary, flags, _ = self._socket.recvmsg(size, FILES_SPACE)
        for level, kind, packed in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                complete = packed[: len(packed) - len(packed) % FILE.size]
                self._files += (file for (file,) in FILE.iter_unpack(complete))
        surplus = self._files[MOST_FILES:]
        del self._files[MOST_FILES:]
        self._lost_files |= bool(surplus) or bool(flags & socket.MSG_CTRUNC)
        close_all(surplus)
        return data


def close_all(files: list[int]) -> None:
    """Close ``files`` and empty the list."""
    while files:
        with contextlib.suppress(OSError):
            os.close(files.pop())
