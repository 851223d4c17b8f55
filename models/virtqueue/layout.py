# SPDX-License-Identifier: BSD-2-Clause
"""Layout of a split virtqueue: descriptors, available ring and used ring, as data.

Source: virtio 1.4 sections 2.7.5 (descriptor table), 2.7.6 (available ring), 2.7.8 (used ring),
2.7.10 (event index).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntFlag
from typing import NamedTuple

DESCRIPTOR = struct.Struct("<QIHH")
"""addr, len, flags, next."""
RING_HEADER = struct.Struct("<HH")
"""flags and idx, at the start of both rings."""
AVAILABLE_ENTRY = struct.Struct("<H")
USED_ENTRY = struct.Struct("<II")
"""id and len."""
EVENT = struct.Struct("<H")
"""used_event after the available ring, avail_event after the used ring."""
INDEX_MASK = 0xFFFF
"""Ring indices have 16 bits and wrap."""
MAX_QUEUE_SIZE = 32768


class DescriptorFlag(IntFlag):
    """Flags of a descriptor."""

    NEXT = 1
    WRITE = 2
    INDIRECT = 4


NO_INTERRUPT = 1
"""Flag of the available ring that disables used-buffer notifications."""
NO_NOTIFY = 1
"""Flag of the used ring that disables available-buffer notifications."""


class Buffer(NamedTuple):
    """Bus address and size in bytes of a piece of memory."""

    address: int
    size: int


class Descriptor(NamedTuple):
    """One entry of a descriptor table."""

    address: int
    size: int
    flags: int
    next: int

    def pack(self) -> bytes:
        """Encode the descriptor in 16 bytes."""
        return DESCRIPTOR.pack(*self)


@dataclass(frozen=True)
class SplitLayout:
    """Offsets and sizes of a queue with ``size`` descriptors, a power of two.

    Raises
    ------
    ValueError
        ``size`` is not a power of two from 1 to 32768.
    """

    size: int

    def __post_init__(self) -> None:
        if not 1 <= self.size <= MAX_QUEUE_SIZE or self.size & (self.size - 1):
            raise ValueError(
                f"queue size is {self.size}: must be a power of two from 1 to {MAX_QUEUE_SIZE}"
            )

    @property
    def descriptor_bytes(self) -> int:
        """Size of the descriptor table in bytes."""
        return DESCRIPTOR.size * self.size

    @property
    def used_event(self) -> int:
        """Byte offset of used_event in the available ring."""
        return self.available_entry(self.size)

    @property
    def available_bytes(self) -> int:
        """Size of the available ring in bytes, with used_event."""
        return self.used_event + EVENT.size

    @property
    def avail_event(self) -> int:
        """Byte offset of avail_event in the used ring."""
        return self.used_entry(self.size)

    @property
    def used_bytes(self) -> int:
        """Size of the used ring in bytes, with avail_event."""
        return self.avail_event + EVENT.size

    def available_entry(self, slot: int) -> int:
        """Byte offset of entry ``slot`` in the available ring."""
        return RING_HEADER.size + AVAILABLE_ENTRY.size * slot

    def used_entry(self, slot: int) -> int:
        """Byte offset of entry ``slot`` in the used ring."""
        return RING_HEADER.size + USED_ENTRY.size * slot


def event_passed(event: int, before: int, now: int) -> bool:
    """Whether a ring index passed ``event`` on its way from ``before`` to ``now`` (2.7.10).

    ``event`` has 16 bits. ``before`` and ``now`` are either counts, which never wrap and may be any
    number of laps apart, or 16-bit indices less than one lap apart.
    """
    steps = now - before if now >= before else now - before & INDEX_MASK
    return (now - event - 1) & INDEX_MASK < steps
