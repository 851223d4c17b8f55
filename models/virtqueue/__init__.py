# SPDX-License-Identifier: BSD-2-Clause
"""Split virtqueues over asynchronous memory: the device's end and the driver's.

Source: virtio 1.4 section 2.7. Both ends take the other for hostile: what does not make sense in
shared memory raises a :class:`VirtqueueError`.
"""

from __future__ import annotations

from .device import Chain, DeviceVirtqueue
from .driver import DriverVirtqueue
from .errors import (
    AvailableRingError,
    ChainTooLargeError,
    DescriptorError,
    QueueFullError,
    UsedRingError,
    VirtqueueError,
)
from .layout import Buffer, DescriptorFlag, SplitLayout

__all__ = [
    "AvailableRingError",
    "Buffer",
    "Chain",
    "ChainTooLargeError",
    "DescriptorError",
    "DescriptorFlag",
    "DeviceVirtqueue",
    "DriverVirtqueue",
    "QueueFullError",
    "SplitLayout",
    "UsedRingError",
    "VirtqueueError",
]
