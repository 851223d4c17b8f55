# SPDX-License-Identifier: BSD-2-Clause
"""Feature bits of a device, as accessed by a driver."""

from __future__ import annotations

from ..messages import MessageKind
from .channel import DeviceChannel
from .errors import ProtocolError

MAX_FEATURE_BITS = 1 << 16
"""Most feature bits that a device may announce, to bound the number of reads."""


class RemoteFeatures:
    """Feature bits of one device.

    Parameters
    ----------
    channel
        Requests to the device.
    num_bits
        Number of feature bits that the device announces.
    """

    def __init__(self, channel: DeviceChannel, num_bits: int) -> None:
        self._channel = channel
        self._num_bits = num_bits
        self._num_blocks = -(-num_bits // 32)

    async def offered(self) -> int:
        """Read the mask of the offered features, in all blocks that the device announces.

        Raises
        ------
        ProtocolError
            The device announces too many bits, or a response is for other blocks than requested.
        """
        bits = self._num_bits
        if bits > MAX_FEATURE_BITS:
            raise ProtocolError(
                f"device {self._channel.dev_num}: num_feature_bits is {bits}: must be "
                f"{MAX_FEATURE_BITS} at most"
            )
        capacity = self._channel.dialect.capacity("GET_FEATURES", MessageKind.RESPONSE, "features")
        words: list[int] = []
        while len(words) < self._num_blocks:
            count = min(capacity, self._num_blocks - len(words))
            response = await self._channel.request("GET_FEATURES", index=len(words), num=count)
            # Missing words are zero, and excess words are ignored.
            words += [*response.features, *[0] * count][:count]
        return sum(word << 32 * k for k, word in enumerate(words))

    async def select(self, features: int) -> None:
        """Write the selection, unchecked, to each block that the device announces."""
        capacity = self._channel.dialect.capacity("SET_FEATURES", MessageKind.REQUEST, "features")
        count = max(self._num_blocks, -(-features.bit_length() // 32))
        words = [features >> 32 * k & 0xFFFF_FFFF for k in range(count)]
        for index in range(0, count, capacity):
            selected = words[index : index + capacity]
            await self._channel.request(
                "SET_FEATURES", index=index, num=len(selected), features=selected
            )
