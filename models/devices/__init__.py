# SPDX-License-Identifier: BSD-2-Clause
"""Virtio devices: the base class and the device types."""

from __future__ import annotations

from .base import SharedMemory, VirtioDevice
from .block import BlockDevice
from .console import ConsoleDevice
from .entropy import EntropyDevice
from .network import FrameDrop, NetworkDevice
from .queue import QueueState
from .service import DeviceLink
from .storage import FileStorage, MemoryStorage, Storage, StorageError

__all__ = [
    "BlockDevice",
    "ConsoleDevice",
    "DeviceLink",
    "EntropyDevice",
    "FileStorage",
    "FrameDrop",
    "MemoryStorage",
    "NetworkDevice",
    "QueueState",
    "SharedMemory",
    "Storage",
    "StorageError",
    "VirtioDevice",
]
