# SPDX-License-Identifier: BSD-2-Clause
"""Messages over a Unix socket: framing, file descriptors, and what cannot be a message."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
from collections import deque

from ..bridge.files import Readiness, is_ready
from .wire import HEADER, MOST_BYTES, MOST_FILES, Message

CHUNK = 1 << 16
"""Bytes taken from the socket at once."""
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
        self._buffer = bytearray()
        self._begin = 0
        # Bytes that came before those in the buffer, and files with the place where they came.
        self._passed = 0
        self._files: deque[tuple[int, int]] = deque()
        self._lost: int | None = None

    def close(self) -> None:
        """Close the socket, and every file that nobody has taken."""
        self._socket.close()
        while self._files:
            os.close(self._files.popleft()[1])

    @property
    def other_has_ended(self) -> bool:
        """Whether the other end sends nothing more; what it sent may still be here."""
        return is_ready(self._socket.fileno(), select.POLLRDHUP)

    async def receive(self) -> Message:
        """The next message.

        Raises
        ------
        ChannelClosedError
            The other end closed the connection, perhaps within a message.
        FramingError
            Its header has a size that no message has.
        """
        await self._have(HEADER.size)
        number, command, size, flags, error = HEADER.unpack_from(self._buffer, self._begin)
        if not HEADER.size <= size <= MOST_BYTES:
            raise FramingError(
                f"size is {size}: must be {HEADER.size} to {MOST_BYTES}", (number, command)
            )
        await self._have(size)
        start = self._begin + HEADER.size
        payload = bytes(self._buffer[start : self._begin + size])
        self._begin += size
        self._passed += size
        files = []
        while self._files and self._files[0][0] <= self._passed:
            files.append(self._files.popleft()[1])
        lost = self._lost is not None and self._lost <= self._passed
        if lost:
            self._lost = None
        return Message(
            id=number,
            command=command,
            flags=flags,
            error=error,
            payload=payload,
            files=files,
            lost_files=lost,
        )

    async def send(self, message: Message) -> None:
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

    async def _have(self, count: int) -> None:
        """Have ``count`` bytes in the buffer."""
        while len(self._buffer) - self._begin < count:
            if self._begin:
                del self._buffer[: self._begin]
                self._begin = 0
            await self._take(max(CHUNK, count - len(self._buffer)))

    async def _take(self, room: int) -> None:
        # Waiting first: who sends without end must not keep everybody else from their turn.
        await self._readiness.readable(self._socket.fileno())
        try:
            data, ancillary, flags, _ = self._socket.recvmsg(room, ROOM_FOR_FILES)
        except BlockingIOError:
            return
        except OSError as error:
            raise ChannelClosedError(str(error)) from None
        self._buffer += data
        # Files come with the last bytes of what one call gives, never with those before.
        place = self._passed + len(self._buffer)
        for level, kind, packed in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                whole = packed[: len(packed) - len(packed) % FILE.size]
                self._files.extend((place, file) for (file,) in FILE.iter_unpack(whole))
        # Only the message that is not all there yet can have any at this point.
        while len(self._files) > MOST_FILES:
            os.close(self._files.pop()[1])
            self._lost = place
        if flags & socket.MSG_CTRUNC:
            self._lost = place
        if not data:
            raise ChannelClosedError("the other end closed the connection")


def close_all(files: list[int]) -> None:
    """Close and forget ``files``."""
    while files:
        with contextlib.suppress(OSError):
            os.close(files.pop())
