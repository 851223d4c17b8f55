# SPDX-License-Identifier: BSD-2-Clause
"""Console device, virtio 5.3, with one port: queue 0 receives, queue 1 transmits."""

from __future__ import annotations

import struct
from collections.abc import Callable

from ..virtio import DeviceId, DeviceStatus
from ..virtqueue import Chain, DeviceVirtqueue
from .base import PIECE, VirtioDevice

F_SIZE = 1 << 0
"""Feature: ``cols`` and ``rows`` are valid."""
F_EMERG_WRITE = 1 << 2
"""Feature: a character written to ``emerg_wr`` is output, even before the queues are set up."""
CONFIG = struct.Struct("<HHII")
"""cols, rows, max_nr_ports, emerg_wr."""
EMERG_WR = range(8, 12)
RECEIVE, TRANSMIT = 0, 1
"""Queue numbers, named from the driver's side."""
OUTPUT_LIMIT = 1 << 20
"""Most bytes of output kept; older ones are dropped."""


class ConsoleDevice(VirtioDevice):
    """Console with one port.

    Parameters
    ----------
    cols, rows
        Size in characters, 16 bits each.
    queue_size
        Maximum size of each queue; a power of two.

    Attributes
    ----------
    output
        Output of the driver.
    output_observers
        Called with each piece of output.
    """

    device_id = DeviceId.CONSOLE.value

    def __init__(self, *, cols: int = 80, rows: int = 25, queue_size: int = 64) -> None:
        super().__init__(
            features=F_SIZE | F_EMERG_WRITE,
            config=CONFIG.pack(cols, rows, 1, 0),
            writable=EMERG_WR,
            queue_sizes=(queue_size, queue_size),
        )
        self.output = bytearray()
        self.output_observers: list[Callable[[bytes], None]] = []
        self._input = bytearray()

    def resize(self, cols: int, rows: int) -> None:
        """Change the size. ``Transport.notify_config`` notifies the driver."""
        self.update_config(0, struct.pack("<HH", cols, rows))

    def type(self, data: bytes) -> None:
        """Send ``data`` to the driver as soon as it has buffers."""
        self._input += data
        self.wake(RECEIVE)

    @property
    def waiting(self) -> int:
        """Number of typed bytes that the driver has not received."""
        return len(self._input)

    def write_config(self, offset: int, data: bytes) -> bool:
        """Handle a driver write; a character in ``emerg_wr`` is output."""
        written = super().write_config(offset, data)
        if written and data and offset == EMERG_WR.start and not self._status & DeviceStatus.FAILED:
            self._print(data[:1])
        return written

    async def serve(self, index: int, queue: DeviceVirtqueue) -> None:
        """Print transmitted data; fill receive buffers while there is input."""
        if index == TRANSMIT:
            await super().serve(index, queue)
            return
        while self._input and (chain := await queue.next_chain()) is not None:
            data = bytes(self._input[: min(PIECE, chain.writable_size)])
            if data:
                await queue.write(chain, data)
            # Remove the input only now: it is kept if the write fails.
            del self._input[: len(data)]
            await queue.complete(chain, len(data))

    async def handle(self, index: int, queue: DeviceVirtqueue, chain: Chain) -> int:
        """Print the data of a chain, in pieces if it is long."""
        size = chain.readable_size
        for offset in range(0, size, PIECE):
            self._print(await queue.read(chain, offset, min(PIECE, size - offset)))
        return 0

    def _print(self, data: bytes) -> None:
        self.output += data
        del self.output[:-OUTPUT_LIMIT]
        for observer in tuple(self.output_observers):
            observer(data)
