# SPDX-License-Identifier: BSD-2-Clause
"""MSI-X: masks, pending bits, enables, and the queue contents at the interrupt."""

import random

import cocotb

from models import config_space as space
from models.shell import AMP_PCI, MSIX_ENTRY_SIZE
from testbench.stream import pacing
from testbench.stream.axis import AxisMessage
from tests.regressions.queue_host import QUEUE, SEED, QueueBench, slot_bytes

SLOT_CYCLES = 8
"""Beats of a message on the narrowest stream."""


class MsixBench(QueueBench):
    """A bench with masks, pending bits and MSI-X control on either top."""

    async def mask(self, vector, masked):
        mask = bytes([masked, 0, 0, 0])
        await self.host.bar_write(AMP_PCI.msix_bar, AMP_PCI.msix_control(vector), mask)

    async def pending(self):
        """Read the pending bits; every earlier write is in effect then."""
        data = await self.host.bar_read(AMP_PCI.msix_bar, AMP_PCI.msix_pba_offset, 8)
        return int.from_bytes(data, "little")

    async def control(self, *, enable, function_mask=False):
        if self.parameters.top == "core":
            self.host.set_pins(msix_enable=enable, msix_mask=function_mask)
            await self.settle(2)
        else:
            await self.host.set_msix_control(enable=enable, mask=function_mask)

    async def bus_master(self, enable):
        if self.parameters.top == "core":
            self.host.set_pins(bus_master_enable=enable)
            await self.settle(2)
        else:
            command = space.MEMORY_SPACE_ENABLE.mask | enable * space.BUS_MASTER_ENABLE.mask
            await self.host.config_write(space.COMMAND, command, 2)

    async def send(self, fifo, number=0):
        await self.source.send_message(fifo, slot_bytes(number))
        await self.settle(20)

    async def expect_reset_table(self):
        """Check that every entry is zero and masked."""
        for vector in range(self.parameters.num_fifos):
            offset = AMP_PCI.msix_entry(vector)
            entry = await self.host.bar_read(AMP_PCI.msix_bar, offset, MSIX_ENTRY_SIZE)
            assert entry == bytes(12) + b"\1\0\0\0"

    @property
    def interrupts_out(self):
        """The host's sink of the stream with the interrupts."""
        return self.host.sink_of("tx_msix_wr_req_tlp")

    async def fill_interrupt_path(self):
        """Stall the interrupts and fill the path to the host; return how many are in flight.

        These leave later in any case; one more waits in the table.
        """
        self.interrupts_out.pause()
        # The endpoint has one more register in the transmit path.
        in_flight = 2 if self.parameters.top == "endpoint" else 1
        for _ in range(in_flight + 1):
            await self.send(0)
        return in_flight

    @property
    def counts(self):
        return [self.host.interrupts[fifo] for fifo in range(self.parameters.num_fifos)]


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def vectors_are_masked_after_reset(dut):
    """After reset every vector is masked; interrupts raised then stay pending and leave once."""
    bench = MsixBench(dut)
    await bench.start(msix=False)
    await bench.control(enable=True)
    fifos = bench.parameters.num_fifos
    await bench.expect_reset_table()
    for fifo in range(fifos):
        await bench.send(fifo)
        await bench.send(fifo)
    assert await bench.pending() == (1 << fifos) - 1
    await bench.host.write_msix_table(AMP_PCI.msix_bar, AMP_PCI.msix_table_offset, fifos)
    await bench.settle()
    assert bench.counts == [1] * fifos
    assert await bench.pending() == 0
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def masked_vector_keeps_its_interrupt_pending(dut):
    """A masked vector keeps its interrupt pending; the others leave."""
    bench = MsixBench(dut)
    await bench.start()
    fifos = bench.parameters.num_fifos
    for vector in range(fifos):
        await bench.mask(vector, True)
        before = bench.counts
        for fifo in range(fifos):
            await bench.send(fifo)
        assert await bench.pending() == 1 << vector
        expected = [count + (fifo != vector) for fifo, count in enumerate(before)]
        assert bench.counts == expected
        await bench.mask(vector, False)
        assert await bench.pending() in (0, 1 << vector)
        await bench.settle()
        expected[vector] += 1
        assert bench.counts == expected
        assert await bench.pending() == 0
        # Masking and unmasking with nothing pending sends nothing.
        await bench.mask(vector, True)
        await bench.mask(vector, False)
        await bench.settle()
        assert bench.counts == expected
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def disabled_interrupts_stay_pending(dut):
    """Function Mask, MSI-X Enable and Bus Master Enable hold every interrupt; none is lost."""
    bench = MsixBench(dut)
    await bench.start()
    fifos = bench.parameters.num_fifos
    switches = (
        (bench.control(enable=True, function_mask=True), bench.control(enable=True)),
        (bench.control(enable=False), bench.control(enable=True)),
        (bench.bus_master(False), bench.bus_master(True)),
    )
    for disable, enable in switches:
        before = bench.counts
        await disable
        for fifo in range(fifos):
            await bench.send(fifo)
        assert await bench.pending() == (1 << fifos) - 1
        assert bench.counts == before
        await enable
        await bench.settle()
        assert bench.counts == [count + 1 for count in before]
        assert await bench.pending() == 0
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def interrupt_uses_address_and_data_of_its_entry(dut):
    """The write uses the entry's address and data, with a four-dword header above 4 GiB."""
    bench = MsixBench(dut, msi_address=0x1_2345_0000)
    await bench.start()
    fifos = bench.parameters.num_fifos
    for fifo in range(fifos):
        await bench.send(fifo)
    assert bench.counts == [1] * fifos
    bench.host.msi_address = 0xFEE0_0000
    await bench.host.write_msix_table(AMP_PCI.msix_bar, AMP_PCI.msix_table_offset, fifos)
    for fifo in range(fifos):
        await bench.send(fifo, 1)
    assert bench.counts == [2] * fifos
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def pending_interrupt_uses_the_current_entry(dut):
    """A pending interrupt uses the entry's value when it leaves, not when it was raised."""
    bench = MsixBench(dut)
    await bench.start()
    fifos = bench.parameters.num_fifos
    for vector in range(fifos):
        await bench.mask(vector, True)
        await bench.pending()
        await bench.send(vector)
    bench.host.msi_address = 0x1_0000_4000
    # The host accepts only the new entries; the last dword unmasks.
    bench.host._vectors.clear()
    await bench.host.write_msix_table(AMP_PCI.msix_bar, AMP_PCI.msix_table_offset, fifos)
    await bench.settle()
    assert bench.counts == [1] * fifos
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def pending_bits_are_read_only(dut):
    """A write of the pending bits neither raises nor clears an interrupt."""
    bench = MsixBench(dut)
    await bench.start()
    await bench.mask(0, True)
    await bench.host.bar_write(AMP_PCI.msix_bar, AMP_PCI.msix_pba_offset, b"\xff" * 8)
    assert await bench.pending() == 0
    await bench.send(0)
    await bench.host.bar_write(AMP_PCI.msix_bar, AMP_PCI.msix_pba_offset, bytes(8))
    assert await bench.pending() == 1
    await bench.mask(0, False)
    await bench.settle()
    assert bench.counts[0] == 1
    await bench.finish()


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def message_is_in_the_queue_at_its_interrupt(dut):
    """At the interrupt, head has advanced and the slot is complete."""
    rng = random.Random(SEED)
    bench = MsixBench(dut, host_stall=pacing.randomly(rng.getrandbits(32)))
    await bench.start()
    fifos = bench.parameters.num_fifos
    seen = [0] * fifos
    events = [bench.host.interrupt(fifo) for fifo in range(fifos)]

    async def host(fifo):
        while seen[fifo] < 20:
            await events[fifo].wait()
            events[fifo].clear()
            interrupts = bench.host.interrupts[fifo]
            head = await bench.device_head(fifo)
            # Interrupts may merge, so there are at least as many messages.
            assert head >= interrupts, f"FIFO {fifo}: {interrupts} interrupts, and head is {head}"
            for index in range(seen[fifo], head):
                assert await bench.device_slot(fifo, index) == slot_bytes(100 * fifo + index)
            seen[fifo] = head

    tasks = [cocotb.start_soon(host(fifo)) for fifo in range(fifos)]
    for number in range(20):
        for fifo in rng.sample(range(fifos), fifos):
            bench.source.send_nowait(AxisMessage(fifo, slot_bytes(100 * fifo + number)))
            if rng.random() < 0.3:
                await bench.settle(rng.randrange(60))
    for task in tasks:
        await task
    await bench.finish()


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def random_masks_lose_no_interrupt(dut):
    """With random masks, enables and messages, the last message always gets an interrupt."""
    rng = random.Random(SEED)
    bench = MsixBench(dut, host_stall=pacing.randomly(rng.getrandbits(32)))
    await bench.start()
    fifos = bench.parameters.num_fifos
    allowed_since = [0] * fifos
    for number in range(60):
        fifo = rng.randrange(fifos)
        step = rng.randrange(4)
        if step == 0:
            await bench.mask(fifo, rng.random() < 0.5)
        elif step == 1:
            await bench.control(enable=rng.random() < 0.7, function_mask=rng.random() < 0.3)
        else:
            before = bench.counts[fifo]
            bench.source.send_nowait(AxisMessage(fifo, slot_bytes(number)))
            allowed_since[fifo] = before
        if rng.random() < 0.5:
            await bench.settle(rng.randrange(20))
        for index in range(fifos):
            head = await bench.device_head(index)
            await bench.set_device_tail(index, head)
    await bench.source.drained()
    sent = [await bench.device_head(fifo) for fifo in range(fifos)]
    for fifo in range(fifos):
        await bench.mask(fifo, False)
    await bench.control(enable=True)
    await bench.settle()
    assert await bench.pending() == 0
    for fifo in range(fifos):
        assert bench.counts[fifo] <= sent[fifo], "an interrupt without a message"
        assert bool(bench.counts[fifo]) == bool(sent[fifo])
        if sent[fifo]:
            assert bench.counts[fifo] > allowed_since[fifo], "the last message had no interrupt"
    assert all(0 <= count < QUEUE.capacity for count in sent)
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def interrupt_raised_while_another_leaves(dut):
    """An interrupt raised in any cycle of another's departure also leaves."""
    bench = MsixBench(dut)
    await bench.start()
    last = bench.parameters.num_fifos - 1
    for delay in range(SLOT_CYCLES + 20):
        before = bench.counts
        await bench.fill_interrupt_path()
        bench.source.send_nowait(AxisMessage(last, slot_bytes(delay)))
        await bench.settle(delay)
        bench.interrupts_out.resume()
        await bench.settle()
        assert bench.counts[last] > before[last], f"after {delay} cycles"
        assert await bench.pending() == 0
        for fifo in {0, last}:
            await bench.set_device_tail(fifo, await bench.device_head(fifo))
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def vector_masked_while_interrupts_stall(dut):
    """A vector masked while another interrupt stalls sends none afterwards."""
    bench = MsixBench(dut)
    await bench.start()
    last = bench.parameters.num_fifos - 1
    before = bench.counts
    in_flight = await bench.fill_interrupt_path()
    await bench.mask(0, True)
    await bench.send(last)
    await bench.mask(last, True)
    await bench.settle()
    bench.interrupts_out.resume()
    await bench.settle()
    expected = [count + in_flight * (vector == 0) for vector, count in enumerate(before)]
    assert bench.counts == expected
    assert await bench.pending() == 1 | 1 << last
    for vector in {0, last}:
        await bench.mask(vector, False)
        await bench.settle()
        expected[vector] += 1
        assert bench.counts == expected
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def reset_masks_vectors_and_clears_pending_bits(dut):
    """After ``rst`` the table is zero, every vector masked and nothing pending."""
    bench = MsixBench(dut)
    await bench.start()
    fifos = bench.parameters.num_fifos
    for fifo in range(fifos):
        await bench.mask(fifo, True)
        await bench.send(fifo)
    before = bench.counts
    await bench.reset()
    await bench.host.start(msix=False)
    await bench.control(enable=True)
    assert await bench.pending() == 0
    await bench.expect_reset_table()
    for fifo in range(fifos):
        assert await bench.device_head(fifo) == 0
    await bench.host.write_msix_table(AMP_PCI.msix_bar, AMP_PCI.msix_table_offset, fifos)
    await bench.settle()
    assert bench.counts == before
    await bench.finish()
