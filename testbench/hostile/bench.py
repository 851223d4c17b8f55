# SPDX-License-Identifier: BSD-2-Clause
"""A bench that reports every store, request, packet and pulse to the oracle."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import cocotb
from cocotb.triggers import First

from models.layout import MIN_MESSAGE, PAGE, SPSC_PAGES
from models.shell import AMP_PCI

from ..axi.dma import AxiDma
from ..host.requester import HostError
from ..queue_bench import QUEUE, QueueBench
from ..stream.axis import AxisMessage
from ..system import CLOCK_PERIOD_NS
from ..tlp import Tlp
from .dma_ordering import DmaOrdering
from .errors import HostileFailure
from .oracle import CAME_OUT, INTERRUPTED, RANG, RESET, RESET_TOLD, TAKEN, Oracle, Tally
from .ram_shadow import RamShadow

TAGS = 32
HOST_TIMEOUT_US = 500.0
MOST_CYCLES = 200_000
"""Limit in cycles for all work that a history can leave pending; far longer than it takes."""


class HostileBench(QueueBench):
    """Sends without waiting, and reports to the oracle.

    Attributes
    ----------
    oracle
        Checks the endpoint's behaviour.
    tally
        Counts of checked messages and interrupts.
    serves_memory
        Value of Memory Space Enable as sent by the host.
    masked, msix_enabled, function_masked, bus_master
        Values of the vectors' mask bits, MSI-X Enable, Function Mask and Bus Master Enable as sent
        by the host.
    layout, sizes
        Layout of the shared RAM; bytes of each BAR.
    dma
        The device side's DMA.
    region
        Bus address of a page of host memory for the device side.
    promises
        Checks the order of DMA writes and messages.
    writing
        Whether a DMA write is in flight whose message is not sent yet.
    unsupported
        Number of unsupported requests sent.
    pause
        Longest pause in cycles between two beats of a stream that is not stalled.
    """

    def __init__(self, dut: Any) -> None:
        super().__init__(dut, tags=TAGS, timeout_us=HOST_TIMEOUT_US)
        self.dma = AxiDma(dut)
        self.num_fifos = self.parameters.num_fifos
        self.core = self.parameters.top == "core"
        self.monitor.fatal = False
        self.tally = Tally()
        self._failures: list[str] = []
        self._history = 0
        self._ended_well = False
        self._receive = self.host.receive
        self.host.receive = self._received
        self.host.on_interrupt.append(self._interrupted)
        self.sink.on_packet = self._came_out
        self.source.on_accept.append(self._taken)
        self._watch = cocotb.start_soon(self._watch_pulses())
        self._index_dwords = frozenset(
            base + offset
            for fifo in range(self.num_fifos)
            for base in (self.driver(fifo, 0), self.device(fifo, 0))
            for offset in (QUEUE.head_offset, QUEUE.tail_offset)
        )
        self.layout = SPSC_PAGES
        self.sizes = AMP_PCI.bar_sizes(self.num_fifos, SPSC_PAGES)
        self.unsupported = 0
        self.pause = 0
        self.writing = False

    async def open(self) -> None:
        """Reset the design and read its RAM; once, before all histories."""
        await self.start()
        self.region = self.host.memory.allocate(PAGE)
        self.promises = DmaOrdering(self.dut, self.dma, self.host.memory, self._failures)
        self.oracle = Oracle(self.num_fifos, await self._view(), self.tally)

    async def _view(self) -> RamShadow:
        content = await self.host.bar_read(AMP_PCI.fifo_bar, 0, self.sizes[AMP_PCI.fifo_bar])
        return RamShadow(content, self.parameters.data_width // 8)

    async def begin(self) -> None:
        """Start a history: reset everything except the RAM contents."""
        if self._ended_well:
            await self.restart(cycles=2)
        else:
            self.oracle.give_up()
            await self.restart(cycles=2)
            self.oracle.begin(await self._view())
            self.monitor.violations.clear()
            self._failures.clear()
        self._ended_well = False

    def end(self) -> None:
        """End the history, without a failure."""
        self._ended_well = True

    async def hurry(self) -> None:
        """Remove all pauses and stalls, and wait for a pause in progress to end."""
        self._unblock_streams()
        await self.settle(self.pause)
        self.pause = 0

    def _unblock_streams(self) -> None:
        for sink in (self.sink, *self.host.sinks.values()):
            sink.resume()
            sink.set_stall(None)
        for source in (self.source, self.host.source):
            source.set_idle(None)

    async def restart(self, *, cycles: int) -> None:
        """Assert ``rst`` for ``cycles`` cycles, then enable the function."""
        self._history += 1
        self._unblock_streams()
        self.pause = 0
        # Let sources start with packets queued just now: only then does reset drop them.
        await self.settle(1)
        self.dut.rst.value = 1
        if self.core:
            self.host.set_pins(function_reset=0, msix_mask=0)
        await self.settle(cycles)
        self.host.requester.abandon()
        self.host.memory.abandon()
        self.promises.forget()
        self.oracle.cut_off()
        self.unsupported = 0
        self.dut.rst.value = 0
        await self.settle(1)
        await self.enable()

    async def enable(self) -> None:
        """Enable the function after a reset, and write its MSI-X table."""
        await self.host.restore()
        self.serves_memory = self.bus_master = self.msix_enabled = True
        self.function_masked = False
        self.masked = [False] * self.num_fifos
        self.unblock()

    def unblock(self) -> None:
        """Allow interrupts again."""
        for vector in self.oracle.vectors:
            vector.blocked = False

    def offer(self, fifo: int, data: bytes) -> None:
        """Send a packet of any size from the device side."""
        well_formed = fifo < self.num_fifos and MIN_MESSAGE <= len(data) <= QUEUE.slot_size
        self.oracle.offers(fifo, data, well_formed=well_formed)
        self.source.send_nowait(AxisMessage(fifo, data))

    async def write_and_offer(self, fifo: int, message: bytes, data: bytes) -> None:
        """Write data to host memory from the device side, then send the message that follows it."""
        history = self._history
        if await self.promises.write(fifo, message, data) and history == self._history:
            self.offer(fifo, message)
        self.writing = False

    def check(self) -> None:
        """Check all events so far.

        Raises
        ------
        HostileFailure
            A check failed.
        """
        self.oracle.catch_up(self.time_ns - 1.5 * CLOCK_PERIOD_NS)
        self._raise()

    def _raise(self) -> None:
        if self.monitor.violations:
            raise HostileFailure("; ".join(str(item) for item in self.monitor.violations))
        if self._failures:
            raise HostileFailure(self._failures[0])

    def _received(self, tlp: Tlp) -> None:
        try:
            self._receive(tlp)
        except HostError as error:
            self._failures.append(str(error))

    def _interrupted(self, vector: int) -> None:
        self.promises.interrupted(vector, self.time_ns)
        self.oracle.sees(self.time_ns, INTERRUPTED, lambda: self.oracle.interrupted(vector))

    def _came_out(self, message: AxisMessage) -> None:
        self.oracle.sees(
            self.time_ns, CAME_OUT, lambda: self.oracle.came_out(message.fifo, message.data)
        )

    def _taken(self, packet: AxisMessage) -> None:
        self.promises.taken(packet.data, self.time_ns)
        self.oracle.sees(self.time_ns, TAKEN, self.oracle.taken)

    async def _watch_pulses(self) -> None:
        dut, edge = self.dut, self.dut.clk.rising_edge
        doorbell, reset = dut.doorbell, dut.host_reset
        while True:
            # A pulse starts between two clock edges; sample it at the second.
            await First(doorbell.value_change, reset.value_change)
            await edge
            while True:
                if dut.rst.value == 1:
                    break
                rung, was_reset = int(doorbell.value), int(reset.value)
                if not rung and not was_reset:
                    break
                now = self.time_ns
                if was_reset:
                    # `host_reset` is asserted one cycle after the reset takes effect.
                    self.oracle.sees(now - CLOCK_PERIOD_NS, RESET, self.oracle.reset)
                    self.oracle.sees(now, RESET_TOLD, self.oracle.reset_told)
                for fifo in range(rung.bit_length()):
                    if rung >> fifo & 1:
                        self.oracle.sees(now, RANG, partial(self.oracle.rang, fifo))
                await edge

    async def wait_until(self, done: Callable[[], bool], what: str, step: int = 20) -> None:
        """Wait until ``done()``, polling every ``step`` cycles.

        Raises
        ------
        HostileFailure
            ``done()`` is still false after :data:`MOST_CYCLES`; ``what`` is the text.
        """
        for _ in range(0, MOST_CYCLES, step):
            if done():
                return
            await self.settle(step)
            self.check()
        raise HostileFailure(f"{what} after {MOST_CYCLES} cycles")
