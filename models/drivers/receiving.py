# SPDX-License-Identifier: BSD-2-Clause
"""Buffers that a device fills when it has something: the receive queue of a driver."""

from __future__ import annotations

from collections import deque

from ..virtqueue import Buffer
from .base import Transfer, VirtioDriver


class ReceiveQueue:
    """Keeps buffers in a receive queue and returns what came, in order. One task uses it.

    Parameters
    ----------
    path
        The device.
    index
        The receive queue.
    buffers, size
        How many buffers, and bytes of each.
    """

    def __init__(self, path: VirtioDriver, index: int, *, buffers: int, size: int) -> None:
        self._path = path
        self._index = index
        self._buffers = buffers
        self._size = size
        self._posted: deque[tuple[Buffer, Transfer]] = deque()

    async def start(self) -> None:
        """Give the device all buffers."""
        for _ in range(self._buffers):
            await self._post(Buffer(self._path.allocate(self._size), self._size))

    async def receive(self) -> bytes:
        """What the device put into the next buffer.

        Raises
        ------
        DriverError
            It did not in time, or its queue does not work any more.
        """
        buffer, transfer = self._posted[0]
        written = await self._path.finish(self._index, transfer)
        self._posted.popleft()
        data = await self._path.memory.read(buffer.address, written) if written else b""
        await self._post(buffer)
        return data

    async def _post(self, buffer: Buffer) -> None:
        self._posted.append((buffer, await self._path.submit(self._index, (), [buffer])))
