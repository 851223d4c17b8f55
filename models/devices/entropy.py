# SPDX-License-Identifier: BSD-2-Clause
"""The entropy device, virtio 5.4: one queue, no configuration space, no features."""

from __future__ import annotations

import os
from collections.abc import Callable

from ..limits import span
from ..virtio import DeviceId
from ..virtqueue import Chain, DeviceVirtqueue
from .base import PIECE, VirtioDevice


class EntropyDevice(VirtioDevice):
    """A source of random bytes.

    Parameters
    ----------
    queue_size
        Maximum size of the request queue; a power of two.
    features
        More features to offer, by mask.
    source
        Gives so many random bytes, or fewer, but one at least; the operating system's by default.

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

    async def handle(self, index: int, queue: DeviceVirtqueue, chain: Chain) -> int:
        """Fill the chain, or as much of it as the device gives at once (5.4.6).

        Raises
        ------
        ValueError
            The source gave too many bytes or none.
        """
        size = min(PIECE, chain.writable_size)
        if not size:
            return 0
        data = self._source(size)
        if not 1 <= len(data) <= size:
            raise ValueError(f"source gave {len(data)} bytes: must be {span(1, size)}")
        await queue.write(chain, data)
        self.given += len(data)
        return len(data)
