# SPDX-License-Identifier: BSD-2-Clause
"""Set-up state of one virtqueue of a device."""

from __future__ import annotations

from dataclasses import dataclass

from ..messages import QueueOperation

_SET_BY_DRIVER = ("size", "descriptor_addr", "driver_addr", "device_addr")


@dataclass(kw_only=True)
class QueueState:
    """Set-up state of one virtqueue of a device.

    Attributes
    ----------
    max_size
        Most descriptors that the device supports; a power of two.
    size
        Number of descriptors that the driver set; 0 before that.
    descriptor_addr, driver_addr, device_addr
        Bus addresses of the three areas (split ring: descriptors, available, used).
    written_fields
        Names of the values above that the driver has set, because 0 is a valid address.
    enabled
        The queue may be used.
    notifications
        Number of available-buffer notifications since the device was reset.
    """

    max_size: int
    size: int = 0
    descriptor_addr: int = 0
    driver_addr: int = 0
    device_addr: int = 0
    written_fields: frozenset[str] = frozenset()
    enabled: bool = False
    notifications: int = 0

    def configure(
        self, *, size: int, descriptor_addr: int, driver_addr: int, device_addr: int
    ) -> bool:
        """Set size and addresses and enable the queue with :meth:`update`."""
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
        """Set the given values, then execute the operation: completely or not at all.

        These are refused: a size that is 0, above the maximum or not a power of two (split rings,
        virtio 2.7); a value for an enabled queue, or to keep it disabled; to enable a queue with a
        value that the driver has not set.

        Returns
        -------
        bool
            The operation was executed.
        """
        values = {
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
        if self.enabled and (values or operation is QueueOperation.KEEP_DISABLED):
            return False
        enable = operation is QueueOperation.ENABLE
        if enable and len(self.written_fields | values.keys()) < len(_SET_BY_DRIVER):
            return False
        for name, value in values.items():
            setattr(self, name, value)
        self.written_fields |= values.keys()
        self.enabled |= enable
        return True

    def reset(self) -> None:
        """Clear all values that the driver set, and disable the queue."""
        for name in _SET_BY_DRIVER:
            setattr(self, name, 0)
        self.written_fields = frozenset()
        self.enabled = False
        self.notifications = 0
