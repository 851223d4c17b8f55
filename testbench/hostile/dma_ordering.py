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

PLACES = 64
"""Number of buffers; more than the messages with data that can be pending."""
PLACE_SIZE = 1024
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
    taken_ns
        Simulation time at which the endpoint accepted the message, ``None`` before.
    late
        Whether the interrupt arrived before the data.
    """

    fifo: int
    message: bytes
    address: int
    data: bytes
    taken_ns: float | None = None
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
    pending
        Number of DMA writes without a response.
    """

    def __init__(self, dut: Any, dma: AxiDma, memory: Any, failures: list[str]) -> None:
        self._dut = dut
        self._dma = dma
        self._memory = memory
        self._failures = failures
        self._region = memory.allocate(PLACES * PLACE_SIZE)
        self._made = 0
        self.pending = 0
        self._open: list[PendingData] = []

    def forget(self) -> None:
        """Drop all pending data: after ``rst`` or a failed history."""
        self._open.clear()

    async def write(self, fifo: int, message: bytes, data: bytes) -> bool:
        """Write ``data``; return when the endpoint has accepted the burst, before it has left.

        Returns
        -------
        bool
            Whether the burst was accepted rather than aborted by a reset.
        """
        address = self._region + self._made % PLACES * PLACE_SIZE
        self._made += 1
        self._open = [promise for promise in self._open if promise.address != address]
        promise = PendingData(fifo, message, address, data)
        task = cocotb.start_soon(self._write(promise))
        dut, edge = self._dut, self._dut.clk.rising_edge
        while not task.done():
            await edge
            if dut.s_axi_dma_wvalid.value == dut.s_axi_dma_wready.value == 1 and (
                dut.s_axi_dma_wlast.value == 1
            ):
                self._open.append(promise)
                return True
        return False

    async def _write(self, promise: PendingData) -> None:
        self.pending += 1
        try:
            await self._dma.write(promise.address, promise.data)
        except DmaError:
            # The write failed, by a reset or without bus mastering: there is no data to check.
            if promise in self._open:
                self._open.remove(promise)
            return
        finally:
            self.pending -= 1
        if promise.late:
            self._failures.append(f"the interrupt of {promise.message.hex()} overtook its data")

    def taken(self, message: bytes, time_ns: float) -> None:
        """Record that the endpoint accepted the last beat of a message."""
        for promise in self._open:
            if promise.message == message:
                promise.taken_ns = time_ns

    def interrupted(self, fifo: int, time_ns: float) -> None:
        """Check the data of the accepted messages of ``fifo``: its interrupt arrived."""
        for promise in list(self._open):
            if promise.fifo != fifo or promise.taken_ns is None or promise.taken_ns >= time_ns:
                continue
            read = memory_read(promise.address, len(promise.data))
            # Only the later response of the burst shows whether the data was to be written at all.
            promise.late = self._memory.load(read) != promise.data
            self._open.remove(promise)
