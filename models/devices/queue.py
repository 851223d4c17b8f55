# SPDX-License-Identifier: BSD-2-Clause
"""What a device knows of one virtqueue before any data moves."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(kw_only=True)
class QueueState:
    """One virtqueue of a device.

    Attributes
    ----------
    max_size
        Most descriptors that the device takes; a power of two.
    size
        Descriptors that the driver set; 0 until it did.
    descriptor_addr, driver_addr, device_addr
        Bus addresses of the three areas (split ring: descriptors, available, used).
    enabled
        The driver set the queue up.
    notifications
        Available-buffer notifications since the device was reset.
    """

    max_size: int
    size: int = 0
    descriptor_addr: int = 0
    driver_addr: int = 0
    device_addr: int = 0
    enabled: bool = False
    notifications: int = 0

    def configure(
        self, *, size: int, descriptor_addr: int, driver_addr: int, device_addr: int
    ) -> bool:
        """Take size and addresses and enable the queue: all of it, or False and nothing.

        Refused: a queue that is enabled already, and a size that is 0, above the maximum or not a
        power of two (split rings, virtio 2.7).
        """
        if self.enabled or not 0 < size <= self.max_size or size & (size - 1):
            return False
        self.size = size
        self.descriptor_addr = descriptor_addr
        self.driver_addr = driver_addr
        self.device_addr = device_addr
        self.enabled = True
        return True

    def reset(self) -> None:
        """Forget what the driver set."""
        self.size = self.descriptor_addr = self.driver_addr = self.device_addr = 0
        self.enabled = False
        self.notifications = 0
