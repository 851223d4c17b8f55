# SPDX-License-Identifier: BSD-2-Clause
"""Block device, virtio 5.2, with one request queue.

A request may have any number of sectors. It is transferred in pieces, so that the memory needed
does not depend on its size.
"""

from __future__ import annotations

import struct
from enum import IntEnum

from ..virtio import DeviceId
from ..virtqueue import Chain, DescriptorError, DeviceVirtqueue
from .base import PIECE, VirtioDevice
from .storage import SECTOR, MemoryStorage, Storage

F_SEG_MAX = 1 << 2
F_RO = 1 << 5
F_BLK_SIZE = 1 << 6
F_FLUSH = 1 << 9
CONFIG_SIZE = 60
"""Bytes of ``struct virtio_blk_config`` up to and including the write-zeroes fields.

This is more than one GET_CONFIG message of v1 can hold."""
REQUEST = struct.Struct("<IIQ")
"""type, reserved, sector: readable header of a request. Its last byte, writable, is the status."""
ID_SIZE = 20
"""Bytes of the data of GET_ID."""
FRAMING = 2
"""Descriptors of a request without data: those of its header and its status."""


class BlockRequestType(IntEnum):
    """Type of a request (5.2.6)."""

    IN = 0
    OUT = 1
    FLUSH = 4
    GET_ID = 8


class RequestStatus(IntEnum):
    """Status of a request (5.2.6)."""

    OK = 0
    IOERR = 1
    UNSUPP = 2


class BlockDevice(VirtioDevice):
    """Disk.

    Parameters
    ----------
    sectors
        Size of a zeroed disk in memory, in units of 512 bytes, 64 bits. Ignored with ``storage``.
    storage
        Storage of the sectors; memory by default.
    serial
        Serial number that GET_ID returns, 20 bytes at most.
    seg_max
        Most data segments in a request, 32 bits. It is limited to ``queue_size`` less the
        descriptors of header and status; at 0 the feature is not offered.
    queue_size
        Maximum size of the request queue; a power of two.

    Raises
    ------
    ValueError
        The storage is not whole sectors, or ``serial`` is too long.

    Attributes
    ----------
    storage
        Storage of the sectors.
    statuses
        Number of requests by status.
    """

    device_id = DeviceId.BLOCK.value

    def __init__(
        self,
        *,
        sectors: int = 2048,
        storage: Storage | None = None,
        serial: bytes = b"virtio-msg-amp",
        seg_max: int = 126,
        queue_size: int = 128,
    ) -> None:
        if storage is None:
            storage = MemoryStorage(bytearray(SECTOR * sectors))
        if storage.size % SECTOR:
            raise ValueError(f"storage has {storage.size} bytes: must be a multiple of {SECTOR}")
        if len(serial) > ID_SIZE:
            raise ValueError(f"serial has {len(serial)} bytes: must be {ID_SIZE} at most")
        self.storage = storage
        self.statuses = dict.fromkeys(RequestStatus, 0)
        self._serial = serial.ljust(ID_SIZE, b"\0")
        self._capacity = storage.size
        seg_max = max(0, min(seg_max, queue_size - FRAMING))
        # capacity u64, size_max u32, seg_max u32, geometry u16 u8 u8, blk_size u32.
        config = struct.pack("<QIIHBBI", storage.size // SECTOR, 0, seg_max, 0, 0, 0, SECTOR)
        super().__init__(
            features=(
                F_BLK_SIZE
                | F_FLUSH
                | (F_SEG_MAX if seg_max else 0)
                | (F_RO if storage.read_only else 0)
            ),
            config=config.ljust(CONFIG_SIZE, b"\0"),
            queue_sizes=(queue_size,),
        )

    def resize(self, sectors: int) -> None:
        """Change the size of the disk. ``Transport.notify_config`` notifies the driver.

        A larger disk extends its storage with zeros. A smaller one keeps its storage, whose end the
        driver can no longer access.

        Raises
        ------
        ValueError
            ``sectors`` is negative or does not fit in 64 bits, or the storage cannot grow.
        """
        if not 0 <= sectors < 1 << 64:
            raise ValueError(f"sectors is {sectors}: must be 0 to 2**64 - 1")
        if SECTOR * sectors > self.storage.size:
            self.storage.resize(SECTOR * sectors)
        self._capacity = SECTOR * sectors
        self.update_config(0, struct.pack("<Q", sectors))

    async def handle(self, index: int, queue: DeviceVirtqueue, chain: Chain) -> int:
        """Serve a request and write its status.

        Raises
        ------
        DescriptorError
            There is no space for header or status.
        """
        if chain.readable_size < REQUEST.size:
            raise DescriptorError(
                f"request has {chain.readable_size} readable bytes: must be {REQUEST.size} or more"
            )
        if not chain.writable_size:
            raise DescriptorError("request has 0 writable bytes: must be 1 or more, for the status")
        kind, _, sector = REQUEST.unpack(await queue.read(chain, 0, REQUEST.size))
        out_size, in_size = chain.readable_size - REQUEST.size, chain.writable_size - 1
        written = 0
        try:
            if kind == BlockRequestType.IN and not out_size:
                status, written = await self._read(queue, chain, sector, in_size)
            elif kind == BlockRequestType.OUT and not in_size:
                status = await self._write(queue, chain, sector, out_size)
            elif kind == BlockRequestType.FLUSH:
                self.storage.flush()
                status = RequestStatus.OK
            elif kind == BlockRequestType.GET_ID and not out_size and in_size >= ID_SIZE:
                await queue.write(chain, self._serial)
                status, written = RequestStatus.OK, ID_SIZE
            elif kind in list(BlockRequestType):
                # The data has the wrong direction, or there is no space for it.
                status = RequestStatus.IOERR
            else:
                status = RequestStatus.UNSUPP
        except OSError:
            # The medium of the storage failed, which the status reports.
            status = RequestStatus.IOERR
        await queue.write(chain, bytes([status]), in_size)
        self.statuses[status] += 1
        # Count the bytes written contiguously from the first; the status is after all data space.
        return in_size + 1 if written == in_size else written

    async def _read(
        self, queue: DeviceVirtqueue, chain: Chain, sector: int, size: int
    ) -> tuple[RequestStatus, int]:
        """Serve a read and return its status and the number of bytes written."""
        if not self._in_range(sector, size):
            return RequestStatus.IOERR, 0
        for offset in range(0, size, PIECE):
            data = self.storage.read(SECTOR * sector + offset, min(PIECE, size - offset))
            await queue.write(chain, data, offset)
        return RequestStatus.OK, size

    async def _write(
        self, queue: DeviceVirtqueue, chain: Chain, sector: int, size: int
    ) -> RequestStatus:
        if self.storage.read_only or not self._in_range(sector, size):
            return RequestStatus.IOERR
        for offset in range(0, size, PIECE):
            data = await queue.read(chain, REQUEST.size + offset, min(PIECE, size - offset))
            self.storage.write(SECTOR * sector + offset, data)
        if not self.selected & F_FLUSH:
            # Without F_FLUSH the driver cannot make the write permanent (5.2.6.2).
            self.storage.flush()
        return RequestStatus.OK

    def _in_range(self, sector: int, size: int) -> bool:
        return size % SECTOR == 0 and SECTOR * sector + size <= self._capacity
