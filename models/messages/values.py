# SPDX-License-Identifier: BSD-2-Clause
"""Numbers in the messages of transport revision 1, and what they mean.

Source: the virtio-msg draft of 2026, sections on bus parameters, SET_VQUEUE and EVENT_DEVICE.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag


class TransportFeature(IntFlag):
    """Features of the transport, not of a device, by mask."""

    NONE = 0
    STRICT_CONFIG_GENERATION = 1


class DeviceState(IntEnum):
    """``device_bus_state`` of EVENT_DEVICE, 16 bits."""

    ADDED = 1
    REMOVED = 2


class QueueOperation(IntEnum):
    """What SET_VQUEUE does to the state of the queue: bits 1:0 of its flags."""

    KEEP_DISABLED = 0
    ENABLE = 1
    KEEP = 2


OPERATION_MASK = 0x3


class QueueFlag(IntFlag):
    """The other bits of SET_VQUEUE's flags: fields that keep their value."""

    KEEP_SIZE = 0x04
    KEEP_DESCRIPTOR = 0x08
    KEEP_DRIVER = 0x10
    KEEP_DEVICE = 0x20


QUEUE_FLAGS: int = OPERATION_MASK | sum(QueueFlag)
"""All bits of SET_VQUEUE's flags that have a meaning; a plain number, as ``~`` of an ``IntFlag``
has its own bits only."""

QUEUE_ENABLED = 0x1
"""Bit 0 of GET_VQUEUE's flags."""
