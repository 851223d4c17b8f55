# SPDX-License-Identifier: BSD-2-Clause
"""Driver for the block device, virtio 5.2."""

from __future__ import annotations

from ..devices.block import F_BLK_SIZE, F_FLUSH, F_RO, F_SEG_MAX, ID_SIZE, REQUEST, SECTOR
from ..devices.block import BlockRequestType as Type
from ..devices.block import RequestStatus as Status
from ..driver import DriverError
from ..virtqueue import Buffer
from .base import VirtioDriver

QUEUE = 0
UNANSWERED = 0xFF
"""Value of the status byte until the device has written it."""


class BlockError(DriverError):
    """The device completed a request with an error.

    Attributes
    ----------
    status
        Status byte.
    """

    def __init__(self, request: str, status: int) -> None:
        super().__init__(f"{request}: status is {status}")
        self.status = status


class BlockDriver(VirtioDriver):
    """Disk. Several requests may be in flight at once."""

    FEATURES = F_SEG_MAX | F_RO | F_BLK_SIZE | F_FLUSH
    NUM_QUEUES = 1

    async def sectors(self) -> int:
        """Size of the disk in units of 512 bytes."""
        return int.from_bytes(await self.device.read_config(0, 8), "little")

    async def read(self, sector: int, count: int) -> bytes:
        """Read ``count`` sectors from ``sector`` on.

        Raises
        ------
        BlockError
            The device completed the request with an error.
        DriverError
            The device did not complete the request in time, or its queue no longer works.
        """
        data = await self.request(Type.IN, sector, response_size=SECTOR * count)
        self.statistics.bytes_in += len(data)
        return data

    async def write(self, sector: int, data: bytes) -> None:
        """Write ``data`` from ``sector`` on. Raises as :meth:`read` does."""
        await self.request(Type.OUT, sector, data=data)
        self.statistics.bytes_out += len(data)

    async def flush(self) -> None:
        """Make all writes permanent. Raises as :meth:`read` does."""
        await self.request(Type.FLUSH)

    async def serial(self) -> bytes:
        """Read the serial number, without trailing zeros. Raises as :meth:`read` does."""
        return (await self.request(Type.GET_ID, response_size=ID_SIZE)).rstrip(b"\0")

    async def request(
        self, kind: int, sector: int = 0, *, data: bytes = b"", response_size: int = 0
    ) -> bytes:
        """Execute a request of any type and return ``response_size`` bytes from the device.

        Raises as :meth:`read` does.
        """
        # Header, data and status are separate buffers in one allocation.
        base = self.allocate(REQUEST.size + max(len(data), response_size) + 1)
        payload = base + REQUEST.size
        status = payload + max(len(data), response_size)
        await self.memory.write(base, REQUEST.pack(kind, 0, sector) + data)
        await self.memory.write(status, bytes([UNANSWERED]))
        readable = [Buffer(base, REQUEST.size)]
        writable = [Buffer(status, 1)]
        if data:
            readable.append(Buffer(payload, len(data)))
        if response_size:
            writable.insert(0, Buffer(payload, response_size))
        await self.transfer(QUEUE, readable, writable)
        status_byte = (await self.memory.read(status, 1))[0]
        response = await self.memory.read(payload, response_size) if response_size else b""
        self.free(base)
        if status_byte != Status.OK:
            raise BlockError(
                f"device {self.device.dev_num}: request {kind} at sector {sector}", status_byte
            )
        return response
