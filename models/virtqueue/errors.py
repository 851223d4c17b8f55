# SPDX-License-Identifier: BSD-2-Clause
"""Errors of a virtqueue."""

from __future__ import annotations


class VirtqueueError(Exception):
    """The other side broke a virtqueue rule; the text names the field and the limit."""


class AvailableRingError(VirtqueueError):
    """The available ring has an impossible index or entry."""


class UsedRingError(VirtqueueError):
    """The used ring has an impossible index or entry."""


class DescriptorError(VirtqueueError):
    """A descriptor chain loops, leaves its table, or combines flags or buffers illegally."""


class ChainTooLargeError(VirtqueueError):
    """A chain has more bytes than virtio allows."""


class QueueFullError(VirtqueueError):
    """There are too few free descriptors for a chain; collect used chains first."""
