# SPDX-License-Identifier: BSD-2-Clause
"""Third-party models: cocotbext-axi on streams and window, cocotbext-pcie's root complex."""

import os
import random

import cocotb
from cocotb.triggers import ClockCycles
from cocotbext.axi import AxiStreamBus, AxiStreamFrame, AxiStreamSink, AxiStreamSource

from models import config_space as space
from models.bus import FifoDriverBus
from testbench.axi.dma import AxiDma
from testbench.bench import Bench
from testbench.stream import pacing
from tests.regressions.dma_host import Region, use_memory
from tests.regressions.queue_host import slot_bytes

SEED = int(os.environ["COCOTB_RANDOM_SEED"])
COUNT = 20


async def exchange_messages(dut, *, pauses):
    """Exchange messages between the root complex and the library's streams."""
    rng = random.Random(SEED)
    bench = Bench(dut, root_complex=True)
    # Create them after reset: the library samples at once, when Icarus has undefined values.
    await bench.start()
    sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis_msg"), dut.clk, dut.rst)
    source = AxiStreamSource(AxiStreamBus.from_prefix(dut, "s_axis_msg"), dut.clk, dut.rst)
    # Before its first frame the library drives undefined values, which Icarus spreads from tdest to
    # tready.
    for signal in (source.bus.tdata, source.bus.tkeep, source.bus.tdest, source.bus.tlast):
        signal.value = 0
    if pauses:
        for stream in (sink, source):
            seed = rng.getrandbits(32)
            stream.set_pause_generator(bool(pause) for pause in pacing.randomly(seed))
    fifos = bench.parameters.num_fifos
    buses = [FifoDriverBus(bench.host, fifo, bench.runtime) for fifo in range(fifos)]
    for bus in buses:
        await bus.open()

    for number in range(COUNT):
        fifo = number % fifos
        await buses[fifo].send(slot_bytes(number))
        frame = await sink.recv()
        assert bytes(frame.tdata) == slot_bytes(number)
        assert frame.tdest == fifo or set(frame.tdest) == {fifo}

        size = rng.randint(8, 64)
        await source.send(AxiStreamFrame(tdata=slot_bytes(number)[:size], tdest=fifo))
        assert await buses[fifo].recv() == slot_bytes(number)[:size].ljust(64, b"\0")
    await ClockCycles(dut.clk, 50)
    assert sink.empty() and source.idle()
    await bench.finish()


@cocotb.test(timeout_time=50, timeout_unit="ms")
@cocotb.parametrize(payload=[128, 512], boundary=[False, True])
async def root_complex_memory_accesses(dut, payload, boundary):
    """The library's AXI manager reads and writes the root complex's memory."""
    rng = random.Random(SEED)
    bench = Bench(dut, root_complex=True, max_payload_size=payload)
    bench.dma = AxiDma(dut)
    bench.host.rc.read_completion_boundary = boundary
    bench.host.rc.split_on_all_rcb = rng.random() < 0.5
    await bench.start()
    code = rng.randrange(6)
    await bench.host.function.set_readrq(code)
    assert bench.monitor.max_read_request_size == space.coded_size(code)
    regions = [Region(bench.host.memory, 8192, rng, base=base) for base in (0, 1 << 36)]
    for region in regions:
        await region.fill()
    tasks = [
        cocotb.start_soon(use_memory(bench, region, random.Random(rng.getrandbits(32)), 8))
        for region in regions
    ]
    for task in tasks:
        await task
    for region in regions:
        await region.check()
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def messages_at_full_speed(dut):
    """Messages cross without pauses."""
    await exchange_messages(dut, pauses=False)


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def messages_with_pauses(dut):
    """Messages cross while the library's streams pause at random."""
    await exchange_messages(dut, pauses=True)
