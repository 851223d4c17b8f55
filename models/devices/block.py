# SPDX-License-Identifier: BSD-2-Clause
"""The block device, virtio 5.2: one request queue and the configuration that sizes it."""

from __future__ import annotations

import struct
from enum import IntEnum

from ..virtio import DeviceId
from ..virtqueue import Chain, DescriptorError, DeviceQueue
from .base import VirtioDevice
from .storage import SECTOR, MemoryStorage, Storage

F_SEG_MAX = 1 << 2
F_RO = 1 << 5
F_BLK_SIZE = 1 << 6
F_FLUSH = 1 << 9
CONFIG_SIZE = 60
"""Bytes of ``struct virtio_blk_config`` up to and with the write-zeroes fields: more than one
GET_CONFIG message of v1 carries."""
REQUEST = struct.Struct("<IIQ")
"""type, reserved, sector: the first bytes of a request, readable. Its last, writable, is the
status."""
ID_SIZE = 20
"""Bytes of the answer to GET_ID."""


class RequestType(IntEnum):
    """What a request is for (5.2.6)."""

    IN = 0
    OUT = 1
    FLUSH = 4
    GET_ID = 8


class RequestStatus(IntEnum):
    """How it went (5.2.6)."""

    OK = 0
    IOERR = 1
    UNSUPP = 2


class BlockDevice(VirtioDevice):
    """A disk.

    Parameters
    ----------
    sectors
        Size in units of 512 bytes, 64 bits, of a disk in memory that is all zeros.
    storage
        What to keep the sectors in, instead of that.
    serial
        What GET_ID answers, 20 bytes at most.
    seg_max
        Most segments in a request, 32 bits.
    queue_size
        Maximum size of the request queue; a power of two.

    Raises
    ------
    ValueError
        The storage is not whole sectors, or ``serial`` is too long.

    Attributes
    ----------
    storage
        The sectors.
    statuses
        How many requests ended with each status.
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
        # capacity u64, size_max u32, seg_max u32, geometry u16 u8 u8, blk_size u32.
        known = struct.pack("<QIIHBBI", storage.size // SECTOR, 0, seg_max, 0, 0, 0, SECTOR)
        super().__init__(
            features=F_SEG_MAX | F_BLK_SIZE | F_FLUSH | (F_RO if storage.read_only else 0),
            config=known.ljust(CONFIG_SIZE, b"\0"),
            queue_sizes=(queue_size,),
        )

    def resize(self, sectors: int) -> None:
        """Change the size that the driver is told; ``Transport.notify_config`` tells it."""
        self.update_config(0, struct.pack("<Q", sectors))

    async def handle(self, index: int, queue: DeviceQueue, chain: Chain) -> int:
        """Serve a request and write its status.

        Raises
        ------
        DescriptorError
            There is no room for header or status.
        """
        if chain.readable_size < REQUEST.size:
            raise DescriptorError(
                f"request has {chain.readable_size} readable bytes: must be {REQUEST.size} or more"
            )
        if not chain.writable_size:
            raise DescriptorError("request has 0 writable bytes: must be 1 or more, for the status")
        room = chain.writable_size - 1
        kind, _, sector = REQUEST.unpack(await queue.read(chain, 0, REQUEST.size))
        data = b""
        try:
            if kind == RequestType.IN:
                status, data = self._read(sector, room)
            elif kind == RequestType.OUT:
                status = self._may_write(sector, chain.readable_size - REQUEST.size)
                if status == RequestStatus.OK:
                    self.storage.write(SECTOR * sector, await queue.read(chain, REQUEST.size))
            elif kind == RequestType.FLUSH:
                self.storage.flush()
                status = RequestStatus.OK
            elif kind == RequestType.GET_ID:
                status = RequestStatus.OK if room >= ID_SIZE else RequestStatus.IOERR
                data = self._serial if room >= ID_SIZE else b""
            else:
                status = RequestStatus.UNSUPP
        except OSError:
            # The medium behind the storage failed: that is what the status is for.
            status, data = RequestStatus.IOERR, b""
        if data:
            await queue.write(chain, data)
        await queue.write(chain, bytes([status]), room)
        self.statuses[status] += 1
        # Bytes written from the first one on; the status lies behind all the room.
        return room + 1 if len(data) == room else len(data)

    def _read(self, sector: int, size: int) -> tuple[RequestStatus, bytes]:
        if not self._inside(sector, size):
            return RequestStatus.IOERR, b""
        return RequestStatus.OK, self.storage.read(SECTOR * sector, size)

    def _may_write(self, sector: int, size: int) -> RequestStatus:
        if self.storage.read_only or not self._inside(sector, size):
            return RequestStatus.IOERR
        return RequestStatus.OK

    def _inside(self, sector: int, size: int) -> bool:
        return size % SECTOR == 0 and SECTOR * sector + size <= self.storage.size
