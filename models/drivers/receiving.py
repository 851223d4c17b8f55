# SPDX-License-Identifier: BSD-2-Clause
"""Receive queue of a driver: buffers that the device fills when it has data."""

from __future__ import annotations

from collections import deque

from ..virtqueue import Buffer
from .base import Transfer, VirtioDriver


class ReceiveQueue:
    """Keeps buffers in a receive queue and returns received data in order.

    Only one task may use it at a time.

    Parameters
    ----------
    driver
        Driver of the device.
    index
        Number of the receive queue.
    buffers
        Number of buffers.
    size
        Bytes of each buffer.
    """

    def __init__(self, driver: VirtioDriver, index: int, *, buffers: int, size: int) -> None:
        self._driver = driver
        self._index = index
        self._buffers = buffers
        self._size = size
        self._posted: deque[tuple[Buffer, Transfer]] = deque()

    async def start(self) -> None:
        """Post all buffers."""
        for _ in range(self._buffers):
            await self._post(Buffer(self._driver.allocate(self._size), self._size))

    async def receive(self) -> bytes:
        """Wait for the next filled buffer and return its data.

        Raises
        ------
        DriverError
            The device did not return the buffer in time, or its queue no longer works.
        """
        buffer, transfer = self._posted[0]
        written = await self._driver.finish(self._index, transfer)
        self._posted.popleft()
        data = await self._driver.memory.read(buffer.address, written) if written else b""
        await self._post(buffer)
        return data

    async def _post(self, buffer: Buffer) -> None:
        self._posted.append((buffer, await self._driver.submit(self._index, (), [buffer])))
