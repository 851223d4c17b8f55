# SPDX-License-Identifier: BSD-2-Clause
"""Configuration space of a device, as accessed by a driver."""

from __future__ import annotations

from ..messages import MessageKind, TransportFeature
from .channel import DeviceChannel
from .errors import ConfigError

CONFIG_ATTEMPTS = 8
"""Most attempts to read configuration space that changes during the read."""


class RemoteConfig:
    """Configuration space of one device.

    Parameters
    ----------
    channel
        Requests to the device.
    size
        Size of configuration space in bytes.
    """

    def __init__(self, channel: DeviceChannel, size: int) -> None:
        self._channel = channel
        self._dev_num = channel.dev_num
        self._size = size

    async def generation(self) -> int:
        """Read the configuration generation, with a read of 0 bytes."""
        response = await self._channel.request("GET_CONFIG", offset=0, size=0)
        return response.number("generation")

    async def read(self, offset: int, size: int) -> bytes:
        """Read configuration space consistently, in as many messages as necessary.

        Raises
        ------
        ConfigError
            The bytes are outside, the device refused, or the configuration changed at each attempt.
        """
        self._check_range(offset, size)
        for _ in range(CONFIG_ATTEMPTS):
            before = await self.generation()
            data = b""
            while len(data) < size:
                data += await self._read_chunk(offset + len(data), size - len(data))
            if await self.generation() == before:
                return data
        raise ConfigError(
            f"device {self._dev_num}: configuration changed during {CONFIG_ATTEMPTS} reads"
        )

    async def _read_chunk(self, offset: int, size: int) -> bytes:
        size = min(size, self._channel.dialect.capacity("GET_CONFIG", MessageKind.RESPONSE, "data"))
        response = await self._channel.request("GET_CONFIG", offset=offset, size=size)
        if response.number("size") != size:
            raise ConfigError(f"device {self._dev_num}: no configuration at {offset}, {size} bytes")
        return bytes(response.data)

    async def write(self, offset: int, data: bytes) -> None:
        """Write configuration space, in as many messages as necessary.

        With STRICT_CONFIG_GENERATION, each message has the newest known generation, and a message
        refused for it is sent again with the current one.

        Raises
        ------
        ConfigError
            The bytes are outside, or the device refused.
        """
        self._check_range(offset, len(data))
        capacity = self._channel.dialect.capacity("SET_CONFIG", MessageKind.REQUEST, "data")
        for start in range(0, len(data), capacity):
            chunk = data[start : start + capacity]
            if not await self._write_chunk(offset + start, chunk):
                raise ConfigError(
                    f"device {self._dev_num}: cannot write configuration at {offset + start}, "
                    f"{len(chunk)} bytes"
                )

    async def _write_chunk(self, offset: int, chunk: bytes) -> bool:
        strict = TransportFeature.STRICT_CONFIG_GENERATION in self._channel.dialect.features
        generations = self._channel.exchange.generations
        for _ in range(CONFIG_ATTEMPTS if strict else 1):
            generation = generations.get(self._dev_num) if strict else 0
            if generation is None:
                generation = await self.generation()
            response = await self._channel.request(
                "SET_CONFIG", generation=generation, offset=offset, data=chunk
            )
            size = response.number("size")
            if size == len(chunk):
                return True
            if size or response.number("generation") == generation:
                return False
            # The generation was stale: read the current one before the next attempt.
            generations.pop(self._dev_num, None)
        return False

    def _check_range(self, offset: int, size: int) -> None:
        if offset < 0 or offset + size > self._size:
            raise ConfigError(
                f"device {self._dev_num}: no configuration at {offset}, {size} bytes: must lie in "
                f"{self._size}"
            )

    # Queues
