# SPDX-License-Identifier: BSD-2-Clause
"""The entropy device, virtio 5.4: one queue, no configuration space, no features."""

from __future__ import annotations

import os
from collections.abc import Callable

from ..virtio import DeviceId
from ..virtqueue import Chain, DeviceQueue
from .base import VirtioDevice


class EntropyDevice(VirtioDevice):
    """A source of random bytes.

    Parameters
    ----------
    queue_size
        Maximum size of the request queue; a power of two.
    features
        More features to offer, by mask.
    source
        Gives so many random bytes; the operating system's by default.

    Attributes
    ----------
    given
        Bytes given so far.
    """

    device_id = DeviceId.ENTROPY.value

    def __init__(
        self,
        *,
        queue_size: int = 256,
        features: int = 0,
        source: Callable[[int], bytes] = os.urandom,
    ) -> None:
        super().__init__(features=features, queue_sizes=(queue_size,))
        self.given = 0
        self._source = source

    async def handle(self, index: int, queue: DeviceQueue, chain: Chain) -> int:
        """Fill the chain."""
        size = chain.writable_size
        await queue.write(chain, self._source(size))
        self.given += size
        return size
