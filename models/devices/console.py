# SPDX-License-Identifier: BSD-2-Clause
"""The console device, virtio 5.3, with one port: queue 0 receives, queue 1 transmits."""

from __future__ import annotations

import struct

from ..virtio import DeviceId
from .base import VirtioDevice

F_SIZE = 1 << 0
"""Feature: ``cols`` and ``rows`` are valid."""
CONFIG = struct.Struct("<HHII")
"""cols, rows, max_nr_ports, emerg_wr."""
EMERG_WR = range(8, 12)


class ConsoleDevice(VirtioDevice):
    """A console of one port.

    Parameters
    ----------
    cols, rows
        Size in characters, 16 bits each.
    queue_size
        Maximum size of either queue; a power of two.
    """

    device_id = DeviceId.CONSOLE.value

    def __init__(self, *, cols: int = 80, rows: int = 25, queue_size: int = 64) -> None:
        super().__init__(
            features=F_SIZE,
            config=CONFIG.pack(cols, rows, 1, 0),
            writable=EMERG_WR,
            queue_sizes=(queue_size, queue_size),
        )

    def resize(self, cols: int, rows: int) -> None:
        """Change the size; ``Transport.notify_config`` tells the driver."""
        self.update_config(0, struct.pack("<HH", cols, rows))
