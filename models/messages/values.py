# SPDX-License-Identifier: BSD-2-Clause
"""Values of message fields in transport revision 1.

Source: the virtio-msg draft of 2026, sections on bus parameters, SET_VQUEUE and EVENT_DEVICE.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag


class TransportFeature(IntFlag):
    """Feature mask of the transport, as opposed to a device."""

    NONE = 0
    STRICT_CONFIG_GENERATION = 1


class DeviceState(IntEnum):
    """``device_bus_state`` of EVENT_DEVICE, 16 bits."""

    ADDED = 1
    REMOVED = 2


class QueueOperation(IntEnum):
    """Change of the queue state by SET_VQUEUE: bits 1:0 of its flags."""

    KEEP_DISABLED = 0
    ENABLE = 1
    KEEP = 2


OPERATION_MASK = 0x3


class QueueFlag(IntFlag):
    """Fields that SET_VQUEUE keeps: the other bits of its flags."""

    KEEP_SIZE = 0x04
    KEEP_DESCRIPTOR = 0x08
    KEEP_DRIVER = 0x10
    KEEP_DEVICE = 0x20


QUEUE_FLAGS: int = OPERATION_MASK | sum(QueueFlag)
"""All defined bits of the flags of SET_VQUEUE.

A plain integer, because ``~`` of an ``IntFlag`` has only the bits of the flag."""

QUEUE_ENABLED = 0x1
"""Bit 0 of the flags of GET_VQUEUE."""
