# SPDX-License-Identifier: BSD-2-Clause
"""The block device, virtio 5.2: one request queue and the configuration that sizes it."""

from __future__ import annotations

import struct

from ..virtio import DeviceId
from .base import VirtioDevice

F_SEG_MAX = 1 << 2
F_BLK_SIZE = 1 << 6
SECTOR = 512
"""Bytes in the unit of ``capacity``."""
CONFIG_SIZE = 60
"""Bytes of ``struct virtio_blk_config`` up to and with the write-zeroes fields: more than one
GET_CONFIG message of v1 carries."""


class BlockDevice(VirtioDevice):
    """A disk.

    Parameters
    ----------
    sectors
        Size in units of 512 bytes, 64 bits.
    seg_max
        Most segments in a request, 32 bits.
    queue_size
        Maximum size of the request queue; a power of two.
    """

    device_id = DeviceId.BLOCK.value

    def __init__(self, *, sectors: int = 2048, seg_max: int = 126, queue_size: int = 128) -> None:
        # capacity u64, size_max u32, seg_max u32, geometry u16 u8 u8, blk_size u32.
        known = struct.pack("<QIIHBBI", sectors, 0, seg_max, 0, 0, 0, SECTOR)
        super().__init__(
            features=F_SEG_MAX | F_BLK_SIZE,
            config=known.ljust(CONFIG_SIZE, b"\0"),
            queue_sizes=(queue_size,),
        )

    def resize(self, sectors: int) -> None:
        """Change the size; ``Transport.notify_config`` tells the driver."""
        self.update_config(0, struct.pack("<Q", sectors))
