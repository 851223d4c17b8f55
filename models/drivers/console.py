# SPDX-License-Identifier: BSD-2-Clause
"""A driver for the console device, virtio 5.3, with one port."""

from __future__ import annotations

from ..devices.console import CONFIG, F_SIZE, RECEIVE, TRANSMIT
from ..driver import DriverError
from ..virtqueue import Buffer
from .base import VirtioDriver
from .receiving import ReceiveQueue

BUFFERS = 4
BUFFER_SIZE = 256
LONGEST_LINE = 4096
"""Bytes of a line, as of a terminal's on Linux: the device may type without end."""


class LineTooLongError(DriverError):
    """Input had no newline for too long; the text has the limit."""


class ConsoleDriver(VirtioDriver):
    """A terminal: bytes both ways."""

    FEATURES = F_SIZE
    NUM_QUEUES = 2

    async def start(self) -> None:
        """Give the device buffers for input."""
        self._input = bytearray()
        self._receiver = ReceiveQueue(self, RECEIVE, buffers=BUFFERS, size=BUFFER_SIZE)
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
        address = self.allocate(len(data))
        await self.memory.write(address, data)
        await self.transfer(TRANSMIT, [Buffer(address, len(data))], ())
        self.free(address)
        self.statistics.bytes_out += len(data)

    async def read(self) -> bytes:
        """Input that nobody has read yet, a byte or more unless the device sends nothing.

        Raises
        ------
        DriverError
            There was none in time, or the queue does not work any more.
        """
        if not self._input:
            await self._receive()
        return self._take(len(self._input))

    async def read_line(self) -> bytes:
        """The next line of input with its newline.

        Raises
        ------
        LineTooLongError
            There is no newline in :data:`LONGEST_LINE` bytes; they are left to :meth:`read`.
        DriverError
            There was none in time, or the queue does not work any more.
        """
        for _ in range(LONGEST_LINE):
            end = self._input.find(b"\n") + 1
            if end:
                return self._take(end)
            if len(self._input) >= LONGEST_LINE:
                break
            await self._receive()
        raise LineTooLongError(
            f"device {self.device.dev_num}: no newline in {len(self._input)} bytes of input: must "
            f"be one in {LONGEST_LINE}"
        )

    async def _receive(self) -> None:
        data = await self._receiver.receive()
        self.statistics.bytes_in += len(data)
        self._input += data

    def _take(self, size: int) -> bytes:
        taken = bytes(self._input[:size])
        del self._input[:size]
        return taken
