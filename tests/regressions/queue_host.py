# SPDX-License-Identifier: BSD-2-Clause
"""A host that works the queues with plain stores, step by step, and sees every byte."""

import os
import random

import cocotb

from models.bus import BarMemory
from models.config_space import INITIATE_FLR
from models.layout import SPSC_PAGES
from models.shell import AMP_PCI
from testbench.axis import AxisMessageSink, AxisMessageSource
from testbench.system import Bench
from testbench.tlp import Status

SEED = int(os.environ["COCOTB_RANDOM_SEED"])
QUEUE = SPSC_PAGES.queue
FULL = QUEUE.capacity - 1
"""Messages that fit a queue."""


def slot_bytes(number):
    """A slot's worth of bytes that tells its number and is random otherwise."""
    return number.to_bytes(4, "little") + random.Random(number).randbytes(QUEUE.slot_size - 4)


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


class QueueBench(Bench):
    """A bench with bare message streams on the device side and a queue's steps on the host's."""

    def __init__(self, dut, *, device_idle=None, device_stall=None, **options):
        super().__init__(dut, **options)
        self.sink = AxisMessageSink(dut, stall=device_stall)
        self.source = AxisMessageSource(dut, idle=device_idle)

    @property
    def memory(self):
        """The FIFO BAR as a memory for the reference queue."""
        return BarMemory(self.host, AMP_PCI.fifo_bar)

    def driver(self, fifo, offset):
        return SPSC_PAGES.driver_queue_base(fifo) + offset

    def device(self, fifo, offset):
        return SPSC_PAGES.device_queue_base(fifo) + offset

    async def load(self, offset):
        return int.from_bytes(await self.host.bar_read(AMP_PCI.fifo_bar, offset, 4), "little")

    async def store(self, offset, value):
        await self.host.bar_write(AMP_PCI.fifo_bar, offset, value.to_bytes(4, "little"))

    async def store_bytes(self, offset, data):
        await self.host.bar_write(AMP_PCI.fifo_bar, offset, data)

    async def write_slot(self, fifo, index, data):
        await self.store_bytes(self.driver(fifo, QUEUE.slot_offset(index)), data)

    async def set_driver_head(self, fifo, index):
        await self.store(self.driver(fifo, QUEUE.head_offset), index)

    async def driver_head(self, fifo):
        return await self.load(self.driver(fifo, QUEUE.head_offset))

    async def driver_tail(self, fifo):
        return await self.load(self.driver(fifo, QUEUE.tail_offset))

    async def device_head(self, fifo):
        return await self.load(self.device(fifo, QUEUE.head_offset))

    async def set_device_tail(self, fifo, index):
        await self.store(self.device(fifo, QUEUE.tail_offset), index)

    async def device_slot(self, fifo, index):
        return await self.host.bar_read(
            AMP_PCI.fifo_bar, self.device(fifo, QUEUE.slot_offset(index)), QUEUE.slot_size
        )

    async def ring(self, fifo):
        await self.host.bar_write(AMP_PCI.register_bar, AMP_PCI.notify(fifo), b"\1\0\0\0")

    async def fill(self, fifo, numbers, *, first=0):
        """Put messages into slots from ``first`` on and move head; no doorbell."""
        index = first
        for number in numbers:
            await self.write_slot(fifo, index, slot_bytes(number))
            index = QUEUE.next(index)
        await self.set_driver_head(fifo, index)
        return index

    async def function_reset(self):
        """Function-level reset the way of either top, then whatever makes BARs work again."""
        if self.parameters.top == "core":
            self.host.set_pins(function_reset=1)
            await self.settle(1)
            self.host.set_pins(function_reset=0)
            self.monitor.forget_outstanding()
            await self.settle(20)
        else:
            field = INITIATE_FLR
            control = await self.host.config_read(field.offset)
            await self.host.config_write(field.offset, control & 0xFFFF | field.mask)
            await self.settle(20)
        await self.host.start()

    async def expect(self, messages):
        """The next messages out, as ``(fifo, bytes)``, are exactly these."""
        for fifo, data in messages:
            got = await self.sink.recv()
            assert (got.fifo, got.data) == (fifo, data), f"got {got}, want {fifo}: {data.hex()}"

    async def expect_nothing(self, cycles=100):
        await self.settle(cycles)
        assert not self.sink.pending, f"a message came that was not due: {self.sink.recv_nowait()}"


async def refused(bench, tlp):
    """One completion, Unsupported Request; the monitor checks all else about it."""
    (answer,) = await bench.host.request(tlp)
    assert answer.status == Status.UR and not answer.payload, f"{tlp} got {answer}"
