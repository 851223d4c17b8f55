# SPDX-License-Identifier: BSD-2-Clause
"""Device side: packets and DMA writes, sent without waiting and reported to the oracle."""

from __future__ import annotations

import cocotb

from models.layout import MIN_MESSAGE, PAGE

from ..axi.dma import AxiDma
from ..queue_bench import QueueBench
from ..stream.axis import AxisMessage
from .dma_ordering import DmaOrdering
from .oracle import Oracle


class HostileDevice:
    """The device side of a bench.

    Parameters
    ----------
    bench
        The bench.
    oracle
        Receives all packets.
    failures
        List to append failures to.

    Attributes
    ----------
    dma
        The device side's DMA.
    memory
        Bus address of a page of host memory for :attr:`dma`.
    ordering
        Checks the order of DMA writes and messages.
    write_in_progress
        Whether a DMA write is in progress whose message is not sent yet.
    """

    def __init__(self, bench: QueueBench, oracle: Oracle, failures: list[str]) -> None:
        self._bench = bench
        self._oracle = oracle
        self._resets = 0
        self.dma = AxiDma(bench.dut)
        self.memory: int = bench.host.memory.allocate(PAGE)
        self.ordering = DmaOrdering(bench.dut, self.dma, bench.host.memory, failures)
        self.write_in_progress = False

    @property
    def idle(self) -> bool:
        """Whether no DMA write is in progress or in flight."""
        return not self.write_in_progress and not self.ordering.writes_in_flight

    def send(self, fifo: int, data: bytes) -> None:
        """Send a packet of any size."""
        well_formed = (
            fifo < self._bench.parameters.num_fifos
            and MIN_MESSAGE <= len(data) <= self._bench.queue.slot_size
        )
        self._oracle.send_packet(fifo, data, well_formed=well_formed)
        self._bench.source.send_nowait(AxisMessage(fifo, data))

    def write_and_send(self, fifo: int, message: bytes, data: bytes) -> None:
        """Start a DMA write of ``data``; send ``message`` when the endpoint has accepted it."""
        self.write_in_progress = True
        cocotb.start_soon(self._write_and_send(fifo, message, data))

    async def _write_and_send(self, fifo: int, message: bytes, data: bytes) -> None:
        resets = self._resets
        if await self.ordering.write(fifo, message, data) and resets == self._resets:
            self.send(fifo, message)
        self.write_in_progress = False

    def cancel_messages(self) -> None:
        """Do not send the messages of DMA writes in progress: ``rst`` will be asserted."""
        self._resets += 1
