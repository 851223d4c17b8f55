# SPDX-License-Identifier: BSD-2-Clause
"""The latencies of the core that docs/architecture.md states, one event at a time."""

import re
from pathlib import Path

import pytest
from amaranth.hdl import Value
from amaranth.sim import Simulator

from hdl.core import AmpPciCore
from models.layout import SPSC_PAGES
from models.shell import AMP_PCI
from testbench.tlp.codec import Tlp
from testbench.tlp.packets import completion, memory_read, memory_write

PAGE = Path(__file__).parents[2] / "docs" / "architecture.md"
STATED = re.findall(r"^\| (.+?) \| .+? \| (\d+) \|$", PAGE.read_text(), re.MULTILINE)
WIDTH = 128
MEMORY = 0x10_0000
"""Bus address in host memory."""
FUNCTION = 0x0100
HOST = 0x0000
LIMIT = 100
"""Cycles in which every event follows its cause."""


class Core:
    """The core, with a host that enabled it, and one event at a time."""

    def __init__(self, ctx, dut):
        self.ctx = ctx
        self.dut = dut
        self.cycle = 0

    async def tick(self):
        await self.ctx.tick()
        self.cycle += 1

    async def start(self):
        dut = self.dut
        for name in ("bus_master_enable", "msix_enable"):
            self.ctx.set(getattr(dut, name), 1)
        self.ctx.set(dut.completer_id, FUNCTION)
        self.ctx.set(dut.requester_id, FUNCTION)
        for stream in (
            dut.tx_cpl_tlp,
            dut.tx_rd_req_tlp,
            dut.tx_wr_req_tlp,
            dut.m_axis_msg,
            dut.s_axi_dma.r,
            dut.s_axi_dma.b,
        ):
            self.ctx.set(stream.ready, 1)
        for _ in range(20):
            await self.tick()

    async def send(self, stream, beats):
        """Send beats, one per cycle; return the cycle in which the last one was accepted."""
        for beat in beats:
            for name, value in beat.items():
                field = getattr(stream.p, name)
                self.ctx.set(Value.cast(field), value)
            self.ctx.set(stream.valid, 1)
            while not self.ctx.get(stream.ready):
                await self.tick()
            accepted = self.cycle
            await self.tick()
        self.ctx.set(stream.valid, 0)
        return accepted

    async def request(self, bar, tlp):
        beats = [{**beat, "bar_id": bar, "func_num": 0} for beat in tlp.beats(WIDTH)]
        return await self.send(self.dut.rx_req_tlp, beats)

    async def store(self, bar, offset, data):
        return await self.request(bar, memory_write(offset, data, requester_id=HOST))

    async def until(self, stream):
        """The cycle in which ``stream`` is valid."""
        for _ in range(LIMIT):
            if self.ctx.get(stream.valid):
                return self.cycle
            await self.tick()
        raise AssertionError("the event does not follow")

    async def rest(self):
        for _ in range(LIMIT):
            await self.tick()

    def address(self, size):
        return {
            "id": 0,
            "addr": MEMORY,
            "len": size * 8 // WIDTH - 1,
            "size": (WIDTH // 8).bit_length() - 1,
            "burst": 1,
        }


async def doorbell(core):
    base = SPSC_PAGES.driver_queue_base(0)
    await core.store(AMP_PCI.fifo_bar, base + SPSC_PAGES.queue.head_offset, b"\1\0\0\0")
    await core.rest()
    sent = await core.store(AMP_PCI.register_bar, AMP_PCI.notify(0), b"\1\0\0\0")
    return await core.until(core.dut.m_axis_msg) - sent


async def interrupt(core):
    entry = MEMORY.to_bytes(8, "little") + bytes(8)
    await core.store(AMP_PCI.msix_bar, AMP_PCI.msix_entry(0), entry)
    await core.rest()
    full = {"tdata": 1, "tkeep": (1 << WIDTH // 8) - 1, "tdest": 0}
    beats = [{**full, "tlast": beat == 3} for beat in range(4)]
    sent = await core.send(core.dut.s_axis_msg, beats)
    return await core.until(core.dut.tx_wr_req_tlp) - sent


async def register_read(core):
    read = memory_read(AMP_PCI.version_offset, 4, requester_id=HOST)
    sent = await core.request(AMP_PCI.register_bar, read)
    return await core.until(core.dut.tx_cpl_tlp) - sent


async def dma_read(core):
    sent = await core.send(core.dut.s_axi_dma.ar, [core.address(64)])
    return await core.until(core.dut.tx_rd_req_tlp) - sent


async def dma_completion(core):
    await core.send(core.dut.s_axi_dma.ar, [core.address(64)])
    await core.until(core.dut.tx_rd_req_tlp)
    read = Tlp.unpack(core.ctx.get(core.dut.tx_rd_req_tlp.p.hdr))
    await core.rest()
    answer = completion(read, HOST, bytes(range(64)))
    beats = [{**beat, "error": 0} for beat in answer.beats(WIDTH)]
    sent = await core.send(core.dut.rx_cpl_tlp, beats)
    return await core.until(core.dut.s_axi_dma.r) - sent


async def write(core):
    """Write 64 bytes; returns the cycles of the last beat and of the TLP."""
    await core.send(core.dut.s_axi_dma.aw, [core.address(64)])
    await core.rest()
    full = {"data": 1, "strb": (1 << WIDTH // 8) - 1}
    beats = [{**full, "last": beat == 3} for beat in range(4)]
    sent = await core.send(core.dut.s_axi_dma.w, beats)
    return sent, await core.until(core.dut.tx_wr_req_tlp)


async def dma_write(core):
    sent, departs = await write(core)
    return departs - sent


async def dma_response(core):
    await write(core)
    while not core.ctx.get(core.dut.tx_wr_req_tlp.p.eop):
        await core.tick()
    ended = core.cycle
    return await core.until(core.dut.s_axi_dma.b) - ended


MEASURES = {
    "doorbell to message": doorbell,
    "message to interrupt": interrupt,
    "read to completion": register_read,
    "AR to memory read": dma_read,
    "completion to R": dma_completion,
    "W to memory write": dma_write,
    "memory write to B": dma_response,
}


@pytest.mark.parametrize("name", MEASURES)
def test_latency_is_as_stated(name):
    dut = AmpPciCore(num_fifos=1, data_width=WIDTH)
    measured = []

    async def bench(ctx):
        core = Core(ctx, dut)
        await core.start()
        measured.append(await MEASURES[name](core))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert {name: str(measured[0])} == {n: cycles for n, cycles in STATED if n == name}
