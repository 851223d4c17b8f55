# SPDX-License-Identifier: BSD-2-Clause
"""Data that a message promises: the device side wrote it to host memory before it sent the message.

The host that takes the message's interrupt must find the data, however late its writes left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cocotb

from models.dma import DmaError

from ..axi.dma import AxiDma
from ..tlp.packets import memory_read

PLACES = 64
"""More than messages wait anywhere with their data."""
PLACE_SIZE = 1024
"""Bytes; no place crosses 4 KiB, so that its data is one burst."""


@dataclass(slots=True, eq=False)
class PendingData:
    """What one message promises.

    Parameters
    ----------
    fifo, message
        The message.
    address, data
        What host memory must hold.
    taken_ns
        When the endpoint took the message.
    late
        Its interrupt came, and the data was not there.
    """

    fifo: int
    message: bytes
    address: int
    data: bytes
    taken_ns: float | None = None
    late: bool = False


class DmaOrdering:
    """Writes data and judges whether it came in time.

    Parameters
    ----------
    dut
        The design's top.
    dma
        The device side's window onto host memory.
    memory
        Host memory.
    failures
        Where broken promises are told.

    Attributes
    ----------
    pending
        Writes that are not answered.
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
        """``rst`` came, or a history failed: no promise holds any more."""
        self._open.clear()

    async def write(self, fifo: int, message: bytes, data: bytes) -> bool:
        """Write ``data``; returns when the endpoint has taken the burst, which may not have left.

        Returns
        -------
        bool
            Whether it was taken: a reset may come between.
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
            # A reset, or no bus mastering: nobody promised that.
            if promise in self._open:
                self._open.remove(promise)
            return
        finally:
            self.pending -= 1
        if promise.late:
            self._failures.append(f"the interrupt of {promise.message.hex()} overtook its data")

    def taken(self, message: bytes, time_ns: float) -> None:
        """The endpoint took the last beat of a message."""
        for promise in self._open:
            if promise.message == message:
                promise.taken_ns = time_ns

    def interrupted(self, fifo: int, time_ns: float) -> None:
        """The interrupt of a FIFO came."""
        for promise in list(self._open):
            if promise.fifo != fifo or promise.taken_ns is None or promise.taken_ns >= time_ns:
                continue
            read = memory_read(promise.address, len(promise.data))
            # The answer to the burst, which comes later, says whether there was to be data at all.
            promise.late = self._memory.load(read) != promise.data
            self._open.remove(promise)
