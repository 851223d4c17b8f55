# SPDX-License-Identifier: BSD-2-Clause
"""A host that grants fewer MSI-X vectors than there are FIFOs, or one for several of them.

PCI Express Base 4.0 section 6.1.4.1 (PCI Local Bus 3.0 section 6.8.3.2): software with fewer
vectors than the table has entries leaves some masked, or writes the same message into several.
"""

import random

import cocotb

from models.shell import AMP_PCI
from testbench.stream import pacing
from testbench.stream.axis import AxisMessage
from tests.regressions.msix import MsixBench
from tests.regressions.queue_host import QUEUE, SEED, slot_bytes

MESSAGES_PER_FIFO = 12
"""Messages of each FIFO."""


class FewVectorsBench(MsixBench):
    """A bench whose host fills in MSI-X entries one by one and takes the messages of any queue."""

    async def grant(self, vectors, *, first=0):
        """Fill in and unmask the entries of ``vectors`` vectors from ``first`` on."""
        for vector in range(first, first + vectors):
            entry = self.host.msix_entry(vector)
            await self.host.bar_write(AMP_PCI.msix_bar, AMP_PCI.msix_entry(vector), entry)

    async def send_all(self, rng):
        """Send messages to all FIFOs, the FIFOs in random order."""
        fifos = self.parameters.num_fifos
        for number in range(MESSAGES_PER_FIFO):
            for fifo in rng.sample(range(fifos), fifos):
                self.source.send_nowait(AxisMessage(fifo, slot_bytes(100 * fifo + number)))
        await self.source.drained()
        await self.settle(200)

    async def take_messages(self, fifo):
        """Take all messages of a FIFO; check that none is missing."""
        assert await self.device_head(fifo) == MESSAGES_PER_FIFO, f"FIFO {fifo} lost messages"
        for index in range(MESSAGES_PER_FIFO):
            assert await self.device_slot(fifo, index) == slot_bytes(100 * fifo + index)
        await self.set_device_tail(fifo, MESSAGES_PER_FIFO)


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def ungranted_vectors_stay_pending(dut):
    """Messages of every FIFO arrive; the interrupt of an ungranted vector leaves when granted."""
    rng = random.Random(SEED)
    bench = FewVectorsBench(dut, host_stall=pacing.randomly(rng.getrandbits(32), 0.2))
    fifos, interrupts = bench.parameters.num_fifos, bench.host.interrupts
    for granted in sorted({0, 1, fifos - 1}):
        await bench.start(msix=False)
        interrupts.clear()
        await bench.control(enable=True)
        await bench.grant(granted)
        await bench.send_all(rng)
        ungranted = (1 << fifos) - (1 << granted)
        assert await bench.pending() == ungranted
        assert all(interrupts[vector] for vector in range(granted))
        for fifo in range(fifos):
            await bench.take_messages(fifo)
        # The messages are already taken; their pending interrupts still leave.
        before = dict(interrupts)
        for vector in rng.sample(range(granted, fifos), fifos - granted):
            await bench.grant(1, first=vector)
            await bench.settle()
            ungranted &= ~(1 << vector)
            assert await bench.pending() == ungranted
            assert interrupts[vector] == 1
        assert all(interrupts[vector] == before[vector] for vector in range(granted))
        # Now every FIFO interrupts at once.
        for fifo in range(fifos):
            count = interrupts[fifo]
            await bench.send(fifo, fifo)
            assert interrupts[fifo] == count + 1
        assert await bench.pending() == 0
    await bench.finish()


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def vectors_with_the_same_address_and_data(dut):
    """Entries with the same address and data: an interrupt follows each FIFO's last message."""
    rng = random.Random(SEED)
    bench = FewVectorsBench(dut, host_stall=pacing.randomly(rng.getrandbits(32), 0.2))
    fifos = bench.parameters.num_fifos
    await bench.start(msix=False)
    entry = bench.host.msix_entry(0)
    for vector in range(fifos):
        await bench.host.bar_write(AMP_PCI.msix_bar, AMP_PCI.msix_entry(vector), entry)
    await bench.control(enable=True)
    interrupt = bench.host.interrupt(0)
    taken = [0] * fifos

    async def serve():
        # On each interrupt the host takes all messages, and none between interrupts.
        while sum(taken) < MESSAGES_PER_FIFO * fifos:
            await interrupt.wait()
            interrupt.clear()
            for fifo in range(fifos):
                head = await bench.device_head(fifo)
                for index in range(taken[fifo], head):
                    assert await bench.device_slot(fifo, index) == slot_bytes(100 * fifo + index)
                taken[fifo] = head
                await bench.set_device_tail(fifo, head)

    server = cocotb.start_soon(serve())
    await bench.send_all(rng)
    await server
    assert taken == [MESSAGES_PER_FIFO] * fifos
    assert bench.host.interrupts[0] <= MESSAGES_PER_FIFO * fifos
    assert await bench.pending() == 0
    await bench.finish()


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def masked_vectors_do_not_delay_others(dut):
    """The mask moves between FIFOs under load: no message and no interrupt is lost."""
    rng = random.Random(SEED)
    bench = FewVectorsBench(dut)
    fifos = bench.parameters.num_fifos
    await bench.start()
    masked = 0
    for number in range(2 * MESSAGES_PER_FIFO):
        await bench.mask(masked, True)
        assert await bench.pending() in range(1 << fifos)
        before = bench.counts
        for fifo in rng.sample(range(fifos), fifos):
            bench.source.send_nowait(AxisMessage(fifo, slot_bytes(number)))
        await bench.source.drained()
        await bench.settle()
        expected = [count + (fifo != masked) for fifo, count in enumerate(before)]
        assert bench.counts == expected
        assert await bench.pending() == 1 << masked
        await bench.mask(masked, False)
        await bench.settle()
        expected[masked] += 1
        assert bench.counts == expected
        for fifo in range(fifos):
            assert await bench.device_head(fifo) == (number + 1) % QUEUE.capacity
            await bench.set_device_tail(fifo, (number + 1) % QUEUE.capacity)
        masked = rng.randrange(fifos)
    await bench.finish()
