# SPDX-License-Identifier: BSD-2-Clause
"""Entropy device, virtio 5.4: one queue, no configuration space, no features."""

from __future__ import annotations

import os
from collections.abc import Callable

from ..limits import span
from ..virtio import DeviceId
from ..virtqueue import Chain, DeviceVirtqueue
from .base import PIECE, VirtioDevice


class EntropyDevice(VirtioDevice):
    """Source of random bytes.

    Parameters
    ----------
    queue_size
        Maximum size of the request queue; a power of two.
    features
        Mask of further features to offer.
    source
        Called with a number of bytes; returns at most so many random bytes, at least one. The
        source of the operating system by default.

    Attributes
    ----------
    bytes_written
        Number of bytes written to the driver.
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
        self.bytes_written = 0
        self._source = source

    async def handle(self, index: int, queue: DeviceVirtqueue, chain: Chain) -> int:
        """Fill the chain, up to the size of a piece (5.4.6).

        Raises
        ------
        ValueError
            The source returned too many bytes or none.
        """
        size = min(PIECE, chain.writable_size)
        if not size:
            return 0
        data = self._source(size)
        if not 1 <= len(data) <= size:
            raise ValueError(f"source returned {len(data)} bytes: must be {span(1, size)}")
        await queue.write(chain, data)
        self.bytes_written += len(data)
        return len(data)
