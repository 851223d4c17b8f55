# SPDX-License-Identifier: BSD-2-Clause
"""Bench whose device side reads and writes host memory, and a copy to compare with."""

import os

import cocotb
from cocotb.triggers import Event
from cocotbext.axi import AxiResp

from testbench.axi.channels import AxiChannels
from testbench.axi.dma import AxiDma, random_pauses
from testbench.host.memory_completer import latencies
from tests.regressions.queue_host import QueueBench

SEED = int(os.environ["COCOTB_RANDOM_SEED"])
ABOVE_4G = 0x12_3456_0000
"""An address for which requests need a four-dword header."""


class Region:
    """A piece of host memory and its expected contents."""

    def __init__(self, memory, size, rng, *, base=None):
        self.memory = memory
        self.size = size
        self.address = memory.allocate(size, base=base)
        self.bytes = bytearray(rng.randbytes(size))

    async def fill(self):
        await self.memory.write(self.address, bytes(self.bytes))

    async def check(self):
        got = await self.memory.read(self.address, self.size)
        differing = [at for at in range(self.size) if got[at] != self.bytes[at]]
        assert not differing, (
            f"{len(differing)} bytes differ, from {self.address + differing[0]:#x} on"
        )

    def span(self, rng, longest):
        """Offset and size of a random piece, often small or at the end of a page."""
        size = rng.randint(1, rng.choice([4, 64, 300, longest]))
        offset = rng.randrange(self.size - size + 1)
        if rng.random() < 0.3:
            offset = max(min((offset | 0xFFF) - rng.randrange(70), self.size - size), 0)
        return offset, size


async def use_memory(bench, region, rng, accesses):
    """Random accesses of one task to a region: a read returns the data of completed writes."""
    for _ in range(accesses):
        offset, size = region.span(rng, 4096)
        address = region.address + offset
        if rng.random() < 0.5:
            data = rng.randbytes(size)
            await bench.dma.write(address, data)
            region.bytes[offset : offset + size] = data
        assert await bench.dma.read(address, size) == region.bytes[offset : offset + size]


class DmaBench(QueueBench):
    """A bench with cocotbext-axi's manager at the window."""

    def __init__(self, dut, *, memory_options=None, dma_options=None, **options):
        super().__init__(dut, memory_options=memory_options or {}, **options)
        if self.parameters.dma:
            self.dma = AxiDma(self.dut, **(dma_options or {}))

    def dma_errors(self):
        return int(self.dut.count_dma_errors.value)

    def unexpected_completions(self):
        return int(self.dut.count_unexpected_completions.value)


def slow_latencies(rng, **options):
    """Latencies of a host that answers out of order."""
    return latencies(rng.getrandbits(32), **options)


def channel_pauses(rng, probability=0.3):
    """Pauses on every channel of the window."""
    return random_pauses(rng.getrandbits(32), probability)


def run_immediately(coroutine):
    """Return the result of a coroutine that takes no simulation time."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("the coroutine waits")


class Writer:
    """Sends bursts and detects when the window accepts the last beat of a write."""

    def __init__(self, dut):
        self._dut = dut
        self._channels = AxiChannels(dut)
        self.lanes = self._channels.lanes
        self._accepted = Event()
        cocotb.start_soon(self._watch())

    async def write_burst(self, address, data):
        """Write whole beats; return when the window has accepted them, answered or not."""
        self._accepted.clear()
        await self.begin_write(address, len(data) // self.lanes)
        await self.send_beats(data)
        await self._accepted.wait()

    async def begin_write(self, address, beats):
        """Send the address of a write burst of whole beats."""
        size = self.lanes.bit_length() - 1
        aw = self._channels.aw
        await aw.send(
            aw._transaction_obj(awid=0, awaddr=address, awlen=beats - 1, awsize=size, awburst=1)
        )

    async def send_beats(self, data, *, ends=True):
        """Send whole beats of the burst; the last one has ``wlast`` if ``ends``."""
        lanes, w = self.lanes, self._channels.w
        for at in range(0, len(data), lanes):
            beat = int.from_bytes(data[at : at + lanes], "little")
            last = int(ends and at + lanes == len(data))
            await w.send(w._transaction_obj(wdata=beat, wstrb=(1 << lanes) - 1, wlast=last))

    async def begin_read(self, address, size):
        """Send the address of a read burst of whole beats."""
        beats, ar = size // self.lanes, self._channels.ar
        await ar.send(
            ar._transaction_obj(
                arid=0,
                araddr=address,
                arlen=beats - 1,
                arsize=self.lanes.bit_length() - 1,
                arburst=1,
            )
        )

    async def wait_response(self):
        """Wait for the response of the oldest burst."""
        assert int((await self._channels.b.recv()).bresp) == AxiResp.OKAY

    async def _watch(self):
        dut, edge = self._dut, self._dut.clk.rising_edge
        while True:
            await edge
            if dut.s_axi_dma_wvalid.value != "1":
                await dut.s_axi_dma_wvalid.rising_edge
            elif dut.s_axi_dma_wready.value == "1" and dut.s_axi_dma_wlast.value == "1":
                self._accepted.set()
