# SPDX-License-Identifier: BSD-2-Clause
"""What the tests of the queues share: the bench, the seed, and a counter of pulses."""

import os

import cocotb

from testbench.queue_bench import QUEUE, QueueBench, slot_bytes
from testbench.tlp import Status

__all__ = ["FULL", "QUEUE", "SEED", "PulseCounter", "QueueBench", "refused", "slot_bytes"]

SEED = int(os.environ["COCOTB_RANDOM_SEED"])
FULL = QUEUE.capacity - 1
"""Messages that fit a queue."""


class PulseCounter:
    """Counts the cycles that each bit of a signal is high for."""

    def __init__(self, signal):
        self._signal = signal
        self._counts = {}
        cocotb.start_soon(self._run())

    @property
    def total(self):
        return sum(self._counts.values())

    def clear(self):
        self._counts.clear()

    def counts(self, bits):
        return [self._counts.get(bit, 0) for bit in range(bits)]

    async def _run(self):
        edge = cocotb.top.clk.rising_edge
        while True:
            await edge
            value, bit = int(self._signal.value), 0
            while value >> bit:
                self._counts[bit] = self._counts.get(bit, 0) + (value >> bit & 1)
                bit += 1


async def refused(bench, tlp):
    """One completion, Unsupported Request; the monitor checks all else about it."""
    (answer,) = await bench.host.request(tlp)
    assert answer.status == Status.UR and not answer.payload, f"{tlp} got {answer}"
