# SPDX-License-Identifier: BSD-2-Clause
"""Every pair of byte-enable patterns on every kind of BAR, including illegal ones.

A one-dword request uses First DW BE only and ignores Last DW BE. In a longer request each end has
its own; a dword with no byte enabled is not written, and counts one byte in a read.
"""

import random
from itertools import product

import cocotb

from models.shell import AMP_PCI
from tests.regressions.bar_access import PATTERNS, byte_span
from tests.regressions.mirror import Mirror
from tests.regressions.queue_host import SEED, PulseCounter

PLACES = (
    (AMP_PCI.fifo_bar, 0x3404),
    (AMP_PCI.msix_bar, AMP_PCI.msix_entry(0) + 8),
    (AMP_PCI.register_bar, AMP_PCI.notify(0)),
)
"""Neighbouring dwords in plain RAM; data and control of a vector; two doorbells."""


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def only_enabled_bytes_are_written(dut):
    """A write changes exactly the enabled bytes, and rings the doorbells of enabled dwords."""
    rng = random.Random(SEED)
    bench = Mirror(dut)
    await bench.start()
    fifos = bench.parameters.num_fifos
    doorbells = PulseCounter(dut.doorbell)
    expected = [0] * fifos
    for (bar, offset), dwords, first in product(PLACES, (1, 2), PATTERNS):
        for last in PATTERNS:
            data = rng.randbytes(4 * dwords)
            await bench.write(bar, offset, data, first_be=first, last_be=last)
            # Read back between writes, so that the next write does not hide a missing effect.
            if rng.random() < 0.25 or last == PATTERNS[-1]:
                await bench.read(bar, offset - 4, 16)
            if bar == AMP_PCI.register_bar:
                expected[0] += first != 0
                if fifos > 1:
                    expected[1] += dwords > 1 and last != 0
    await bench.settle()
    assert doorbells.counts(fifos) == expected
    await bench.expect_nothing()
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def enabled_bytes_are_read(dut):
    """Enabled bytes read right; the monitor checks byte count and lower address."""
    rng = random.Random(SEED)
    bench = Mirror(dut)
    await bench.start()
    doorbells = PulseCounter(dut.doorbell)
    for bar, offset in PLACES[:2]:
        await bench.write(bar, offset, rng.randbytes(8))
    pending_reads = []
    for (bar, offset), dwords, first, last in product(PLACES, (1, 2), PATTERNS, PATTERNS):
        effective_last = last if dwords > 1 else first
        low, high = byte_span(first or 1, effective_last or 1, dwords)
        pending_reads.append(
            await bench.begin_read(
                bar,
                offset + low,
                high - low,
                first_be=first,
                last_be=last,
                length=dwords,
                requester_id=rng.getrandbits(16),
            )
        )
        if len(pending_reads) == 16:
            for pending_read in pending_reads:
                (completion,) = await bench.finish_read(pending_read)
                assert completion.length == pending_read[0].request.length
            pending_reads.clear()
    assert doorbells.total == 0
    await bench.finish()
