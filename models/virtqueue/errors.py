# SPDX-License-Identifier: BSD-2-Clause
"""What can be wrong with a virtqueue."""

from __future__ import annotations


class VirtqueueError(Exception):
    """The other side broke a rule of the virtqueue; the text names the field and the limit."""


class AvailableRingError(VirtqueueError):
    """The available ring says something that cannot be."""


class UsedRingError(VirtqueueError):
    """The used ring says something that cannot be."""


class DescriptorError(VirtqueueError):
    """A chain of descriptors loops, points outside, or mixes what may not be mixed."""


class ChainTooLargeError(VirtqueueError):
    """A chain has more bytes than virtio allows."""


class QueueFullError(VirtqueueError):
    """There are not enough free descriptors for a chain: collect what was used first."""
