# SPDX-License-Identifier: BSD-2-Clause
"""A driver for the entropy device, virtio 5.4."""

from __future__ import annotations

from ..virtqueue import Buffer
from .base import DataPath

QUEUE = 0
LARGEST_REQUEST = 4096


class EntropyDriver(DataPath):
    """Random bytes from an entropy device."""

    async def read(self, size: int, *, request_size: int = LARGEST_REQUEST) -> bytes:
        """``size`` random bytes, in requests of ``request_size`` at most.

        Raises
        ------
        DriverError
            The device did not give them in time, or its queue does not work any more.
        """
        data = b""
        address = self.memory.allocate(min(size, request_size))
        while len(data) < size:
            wanted = min(request_size, size - len(data))
            written = await self.transfer(QUEUE, (), [Buffer(address, wanted)])
            data += await self.memory.read(address, written) if written else b""
            self.statistics.bytes_in += written
        return data
