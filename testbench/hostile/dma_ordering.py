# SPDX-License-Identifier: BSD-2-Clause
"""Order of DMA writes and messages.

The device side writes data to host memory, then sends a message. When the host receives the
message's interrupt, the data must be in host memory, however long the writes took to leave.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cocotb

from models.dma import DmaError

from ..axi.dma import AxiDma
from ..tlp.packets import memory_read

BUFFERS = 64
"""Number of buffers; more than the messages with data that can be pending."""
BUFFER_SIZE = 1024
"""Bytes of a buffer; none crosses 4 KiB, so that its data is one burst."""


@dataclass(slots=True, eq=False)
class PendingData:
    """Data that must be in host memory before a message's interrupt.

    Parameters
    ----------
    fifo, message
        The message.
    address, data
        The data and its bus address.
    accepted_ns
        Simulation time at which the endpoint accepted the message, ``None`` before.
    late
        Whether the interrupt arrived before the data.
    """

    fifo: int
    message: bytes
    address: int
    data: bytes
    accepted_ns: float | None = None
    late: bool = False


class DmaOrdering:
    """Writes data and checks that it arrives before the interrupt of its message.

    Parameters
    ----------
    dut
        The design's top.
    dma
        The device side's DMA.
    memory
        Host memory.
    failures
        List to append failures to.

    Attributes
    ----------
    writes_in_flight
        Number of DMA writes without a response.
    """

    def __init__(self, dut: Any, dma: AxiDma, memory: Any, failures: list[str]) -> None:
        self._dut = dut
        self._dma = dma
        self._memory = memory
        self._failures = failures
        self._buffers = memory.allocate(BUFFERS * BUFFER_SIZE)
        self._writes = 0
        self._pending: list[PendingData] = []
        self.writes_in_flight = 0

    def clear(self) -> None:
        """Drop all pending data: after ``rst`` or a failed history."""
        self._pending.clear()

    async def write(self, fifo: int, message: bytes, data: bytes) -> bool:
        """Write ``data``; return when the endpoint has accepted the burst, before it has left.

        Returns
        -------
        bool
            Whether the burst was accepted rather than aborted by a reset.
        """
        address = self._buffers + self._writes % BUFFERS * BUFFER_SIZE
        self._writes += 1
        self._pending = [pending for pending in self._pending if pending.address != address]
        pending = PendingData(fifo, message, address, data)
        task = cocotb.start_soon(self._write(pending))
        dut, edge = self._dut, self._dut.clk.rising_edge
        while not task.done():
            await edge
            if dut.s_axi_dma_wvalid.value == dut.s_axi_dma_wready.value == 1 and (
                dut.s_axi_dma_wlast.value == 1
            ):
                self._pending.append(pending)
                return True
        return False

    async def _write(self, pending: PendingData) -> None:
        self.writes_in_flight += 1
        try:
            await self._dma.write(pending.address, pending.data)
        except DmaError:
            # The write failed, by a reset or without bus mastering: there is no data to check.
            if pending in self._pending:
                self._pending.remove(pending)
            return
        finally:
            self.writes_in_flight -= 1
        if pending.late:
            self._failures.append(f"the interrupt of {pending.message.hex()} overtook its data")

    def accepted(self, message: bytes, time_ns: float) -> None:
        """Record that the endpoint accepted the last beat of a message."""
        for pending in self._pending:
            if pending.message == message:
                pending.accepted_ns = time_ns

    def interrupted(self, fifo: int, time_ns: float) -> None:
        """Check the data of the accepted messages of ``fifo``: its interrupt arrived."""
        for pending in list(self._pending):
            if (
                pending.fifo != fifo
                or pending.accepted_ns is None
                or pending.accepted_ns >= time_ns
            ):
                continue
            read = memory_read(pending.address, len(pending.data))
            # Only the later response of the burst shows whether the data was to be written at all.
            pending.late = self._memory.load(read) != pending.data
            self._pending.remove(pending)
