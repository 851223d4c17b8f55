# SPDX-License-Identifier: BSD-2-Clause
"""The entropy device, virtio 5.4: one queue, no configuration space, no features."""

from __future__ import annotations

from ..virtio import DeviceId
from .base import VirtioDevice


class EntropyDevice(VirtioDevice):
    """A source of random bytes.

    Parameters
    ----------
    queue_size
        Maximum size of the request queue; a power of two.
    features
        More features to offer, by mask.
    """

    device_id = DeviceId.ENTROPY.value

    def __init__(self, *, queue_size: int = 256, features: int = 0) -> None:
        super().__init__(features=features, queue_sizes=(queue_size,))
