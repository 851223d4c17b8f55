# SPDX-License-Identifier: BSD-2-Clause
"""A driver for the console device, virtio 5.3, with one port."""

from __future__ import annotations

from ..devices.console import CONFIG, F_SIZE, RECEIVE, TRANSMIT
from ..virtqueue import Buffer
from .base import DataPath
from .receiving import Receiver

BUFFERS = 4
BUFFER_SIZE = 256


class ConsoleDriver(DataPath):
    """A terminal: bytes both ways."""

    FEATURES = F_SIZE

    async def start(self) -> None:
        """Give the device buffers for input."""
        self._input = bytearray()
        self._receiver = Receiver(self, RECEIVE, buffers=BUFFERS, size=BUFFER_SIZE)
        await self._receiver.start()

    async def size(self) -> tuple[int, int]:
        """Columns and rows."""
        cols, rows, _, _ = CONFIG.unpack(await self.device.read_config(0, CONFIG.size))
        return cols, rows

    async def write(self, data: bytes) -> None:
        """Print ``data``, a byte or more.

        Raises
        ------
        DriverError
            The device did not take it in time, or its queue does not work any more.
        """
        address = self.memory.allocate(len(data))
        await self.memory.write(address, data)
        await self.transfer(TRANSMIT, [Buffer(address, len(data))], ())
        self.statistics.bytes_out += len(data)

    async def read_line(self) -> bytes:
        """The next line of input with its newline.

        Raises
        ------
        DriverError
            There was none in time, or the queue does not work any more.
        """
        while b"\n" not in self._input:
            data = await self._receiver.receive()
            self.statistics.bytes_in += len(data)
            self._input += data
        end = self._input.index(b"\n") + 1
        line = bytes(self._input[:end])
        del self._input[:end]
        return line
