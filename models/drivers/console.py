# SPDX-License-Identifier: BSD-2-Clause
"""Driver for the console device, virtio 5.3, with one port."""

from __future__ import annotations

from ..devices.console import CONFIG, F_SIZE, RECEIVE, TRANSMIT
from ..driver import DriverError
from ..virtqueue import Buffer
from .base import VirtioDriver
from .receiving import ReceiveQueue

BUFFERS = 4
BUFFER_SIZE = 256
LONGEST_LINE = 4096
"""Most bytes of a line, as on a Linux terminal: the device may send bytes without a newline."""


class LineTooLongError(DriverError):
    """The input has no newline within the limit; the text has the limit."""


class ConsoleDriver(VirtioDriver):
    """Terminal: bytes in both directions."""

    FEATURES = F_SIZE
    NUM_QUEUES = 2

    async def start(self) -> None:
        """Post buffers for input."""
        self._input = bytearray()
        self._receiver = ReceiveQueue(self, RECEIVE, buffers=BUFFERS, size=BUFFER_SIZE)
        await self._receiver.start()

    async def size(self) -> tuple[int, int]:
        """Read the number of columns and rows."""
        cols, rows, _, _ = CONFIG.unpack(await self.device.read_config(0, CONFIG.size))
        return cols, rows

    async def write(self, data: bytes) -> None:
        """Print ``data``, 1 byte or more.

        Raises
        ------
        DriverError
            The device did not accept the data in time, or its queue no longer works.
        """
        address = self.allocate(len(data))
        await self.memory.write(address, data)
        await self.transfer(TRANSMIT, [Buffer(address, len(data))], ())
        self.free(address)
        self.statistics.bytes_out += len(data)

    async def read(self) -> bytes:
        """Return all unread input, or wait for input.

        The result is empty only if the device returns an empty buffer.

        Raises
        ------
        DriverError
            No input arrived in time, or the queue no longer works.
        """
        if not self._input:
            await self._receive()
        return self._take(len(self._input))

    async def read_line(self) -> bytes:
        """Return the next line of input with its newline.

        Raises
        ------
        LineTooLongError
            There is no newline in :data:`LONGEST_LINE` bytes, which :meth:`read` still returns.
        DriverError
            No complete line arrived in time, or the queue no longer works.
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
