# SPDX-License-Identifier: BSD-2-Clause
"""Split virtqueues over asynchronous memory: device side and driver side.

Source: virtio 1.4 section 2.7. Each side treats the other as hostile: invalid contents of shared
memory raise a :class:`VirtqueueError`.
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
