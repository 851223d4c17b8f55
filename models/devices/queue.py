# SPDX-License-Identifier: BSD-2-Clause
"""What a device knows of one virtqueue before any data moves."""

from __future__ import annotations

from dataclasses import dataclass

from ..messages import QueueOperation

_SET_BY_DRIVER = ("size", "descriptor_addr", "driver_addr", "device_addr")


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
    given
        Which of these the driver set: 0 is an address like any other.
    enabled
        The queue may be used.
    notifications
        Available-buffer notifications since the device was reset.
    """

    max_size: int
    size: int = 0
    descriptor_addr: int = 0
    driver_addr: int = 0
    device_addr: int = 0
    given: frozenset[str] = frozenset()
    enabled: bool = False
    notifications: int = 0

    def configure(
        self, *, size: int, descriptor_addr: int, driver_addr: int, device_addr: int
    ) -> bool:
        """Take size and addresses and enable the queue; as :meth:`update` otherwise."""
        return self.update(
            QueueOperation.ENABLE,
            size=size,
            descriptor_addr=descriptor_addr,
            driver_addr=driver_addr,
            device_addr=device_addr,
        )

    def update(
        self,
        operation: QueueOperation,
        *,
        size: int | None = None,
        descriptor_addr: int | None = None,
        driver_addr: int | None = None,
        device_addr: int | None = None,
    ) -> bool:
        """Take what is given, then do the operation: all of it, or False and nothing.

        Refused: a size that is 0, above the maximum or not a power of two (split rings, virtio
        2.7); to give an enabled queue anything, or to keep it disabled; to enable a queue that the
        driver has not set up in full.
        """
        given = {
            name: value
            for name, value in (
                ("size", size),
                ("descriptor_addr", descriptor_addr),
                ("driver_addr", driver_addr),
                ("device_addr", device_addr),
            )
            if value is not None
        }
        if size is not None and (not 0 < size <= self.max_size or size & (size - 1)):
            return False
        if self.enabled and (given or operation is QueueOperation.KEEP_DISABLED):
            return False
        enables = operation is QueueOperation.ENABLE
        if enables and len(self.given | given.keys()) < len(_SET_BY_DRIVER):
            return False
        for name, value in given.items():
            setattr(self, name, value)
        self.given |= given.keys()
        self.enabled |= enables
        return True

    def reset(self) -> None:
        """Forget what the driver set."""
        for name in _SET_BY_DRIVER:
            setattr(self, name, 0)
        self.given = frozenset()
        self.enabled = False
        self.notifications = 0
