# SPDX-License-Identifier: BSD-2-Clause
"""Driver for the entropy device, virtio 5.4."""

from __future__ import annotations

from ..driver import ProtocolError
from ..virtqueue import Buffer
from .base import VirtioDriver

QUEUE = 0
LARGEST_REQUEST = 4096


class EntropyDriver(VirtioDriver):
    """Source of random bytes."""

    NUM_QUEUES = 1

    async def read(self, size: int, *, request_size: int = LARGEST_REQUEST) -> bytes:
        """Read ``size`` random bytes, in requests of at most ``request_size``.

        Raises
        ------
        ProtocolError
            The device returned an empty buffer, which is not allowed (5.4.6.2).
        DriverError
            The device did not return a buffer in time, or its queue no longer works.
        """
        data = b""
        address = self.allocate(min(size, request_size))
        while len(data) < size:
            count = min(request_size, size - len(data))
            written = await self.transfer(QUEUE, (), [Buffer(address, count)])
            if not written:
                raise ProtocolError(
                    f"device {self.device.dev_num}: 0 random bytes: must be 1 or more"
                )
            data += await self.memory.read(address, written)
            self.statistics.bytes_in += written
        self.free(address)
        return data
