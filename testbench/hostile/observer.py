# SPDX-License-Identifier: BSD-2-Clause
"""Reports the events at the design's ports to the oracle."""

from __future__ import annotations

from functools import partial

import cocotb
from cocotb.triggers import First

from ..queue_bench import QueueBench
from ..stream.axis import AxisMessage
from ..timing import CLOCK_PERIOD_NS
from .checker import Checker
from .dma_ordering import DmaOrdering
from .oracle import EventKind, Oracle


class Observer:
    """Observes messages, packets, interrupts, doorbell and reset pulses, and errors of the host.

    Parameters
    ----------
    bench
        The bench whose ports are observed.
    oracle, ordering
        Receive the events.
    checker
        Receives the errors of the host.
    """

    def __init__(
        self, bench: QueueBench, oracle: Oracle, ordering: DmaOrdering, checker: Checker
    ) -> None:
        self._bench = bench
        self._oracle = oracle
        self._ordering = ordering
        bench.host.on_error = lambda error: checker.failures.append(str(error))
        bench.host.on_interrupt.append(self._interrupted)
        bench.sink.on_packet = self._delivered
        bench.source.on_accept.append(self._accepted)
        self._task = cocotb.start_soon(self._watch_pulses())

    def _interrupted(self, vector: int) -> None:
        now = self._bench.time_ns
        self._ordering.interrupted(vector, now)
        self._oracle.record(now, EventKind.INTERRUPT, partial(self._oracle.interrupted, vector))

    def _delivered(self, message: AxisMessage) -> None:
        effect = partial(self._oracle.delivered, message.fifo, message.data)
        self._oracle.record(self._bench.time_ns, EventKind.DELIVERED, effect)

    def _accepted(self, packet: AxisMessage) -> None:
        now = self._bench.time_ns
        self._ordering.accepted(packet.data, now)
        self._oracle.record(now, EventKind.ACCEPTED, self._oracle.accepted)

    async def _watch_pulses(self) -> None:
        dut, oracle, edge = self._bench.dut, self._oracle, self._bench.dut.clk.rising_edge
        while True:
            # A pulse starts between two clock edges; sample it at the second.
            await First(dut.doorbell.value_change, dut.host_reset.value_change)
            await edge
            while True:
                if dut.rst.value == 1:
                    break
                doorbells, reset = int(dut.doorbell.value), int(dut.host_reset.value)
                if not doorbells and not reset:
                    break
                now = self._bench.time_ns
                if reset:
                    # `host_reset` is asserted one cycle after the reset takes effect.
                    oracle.record(now - CLOCK_PERIOD_NS, EventKind.RESET, oracle.reset)
                    oracle.record(now, EventKind.END_OF_RESET, oracle.end_reset)
                for fifo in range(doorbells.bit_length()):
                    if doorbells >> fifo & 1:
                        oracle.record(now, EventKind.DOORBELL, partial(oracle.doorbell, fifo))
                await edge
