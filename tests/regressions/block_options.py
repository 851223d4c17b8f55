# SPDX-License-Identifier: BSD-2-Clause
"""The core's ports for a hard block; the build's options select them."""

import random
from contextlib import suppress
from itertools import repeat

import cocotb

from hdl.dma.limits import COMPLETION_BYTES, MAX_COMPLETIONS, TAGS
from models.dma import PAGE, DmaError
from models.shell import AMP_PCI
from testbench.host import faults
from testbench.host.faults import Fault
from testbench.timing import CLOCK_PERIOD_NS
from testbench.tlp import MEMORY_WRITES
from testbench.tlp.monitor import interrupt_bundle
from tests.regressions.dma_faults import (
    VICTIM,
    expect_slverr,
    fault_bench,
    prepare,
    read,
    victim_read,
)
from tests.regressions.dma_host import SEED, DmaBench, Region
from tests.regressions.msix import MsixBench
from tests.regressions.queue_host import QUEUE, slot_bytes

LONG_NS = 4000
"""Latency of the host's answer to a read; shorter than the completion timeout."""
OTHER_BUS = 0x100
OTHER_FUNCTION = 1
"""Bits to flip in a requester ID for another bus, and for another function."""


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def completion_for_another_bus_or_function(dut):
    """``ignore_bus_number`` accepts completions for another bus, and none for another function."""
    bench = fault_bench(dut)
    region = await prepare(bench, random.Random(SEED))
    for change, accepted in (
        (OTHER_BUS, bench.parameters.block.ignore_bus_number),
        (OTHER_FUNCTION, False),
    ):
        other = faults.altered(
            requester_id=lambda answer, change=change: answer.requester_id ^ change
        )
        bench.host.memory.faults.append(Fault(other, victim_read(region)))
        unexpected = bench.unexpected_completions()
        if accepted:
            await read(bench, region, VICTIM, 64)
            # The monitor compares the whole ID, so that to it the read is still outstanding.
            bench.monitor.forget_outstanding()
        else:
            await expect_slverr(bench.dma.read(region.address + VICTIM, 64))
        assert bench.unexpected_completions() == unexpected + (not accepted)
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def outstanding_reads_stay_within_completion_headers(dut):
    """With ``completion_headers``, outstanding reads of any size need at most that many
    completions, and use nearly all of them. The host delays every answer."""
    rng = random.Random(SEED)
    bench = DmaBench(dut, max_read_request_size=rng.choice([128, 512, 4096]))
    memory = bench.host.memory
    limit = bench.parameters.block.completion_headers or MAX_COMPLETIONS * TAGS
    completion_counts = []
    accept = memory.take

    def record(request, *more):
        if request.kind not in MEMORY_WRITES:
            first, end = request.address, request.address + 4 * request.length
            completion_counts.append((end - 1) // COMPLETION_BYTES - first // COMPLETION_BYTES + 1)
        accept(request, *more)

    await bench.start()
    region = Region(memory, 16 * PAGE, rng)
    await region.fill()
    memory.take = record
    memory.set_latency(repeat(LONG_NS))
    start = rng.randrange(PAGE)
    read = cocotb.start_soon(bench.dma.read(region.address + start, 12 * PAGE))
    await bench.settle(LONG_NS // CLOCK_PERIOD_NS // 2)
    assert (
        len(completion_counts) == TAGS or limit - MAX_COMPLETIONS < sum(completion_counts) <= limit
    ), f"seed {SEED}"
    memory.set_latency(None)
    assert await read == region.bytes[start : start + 12 * PAGE]
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def refused_interrupt_is_sent_again(dut):
    """A refused interrupt is sent again, once its vector is not masked; a pulse without an
    interrupt has no effect."""
    bench = MsixBench(dut)
    if not hasattr(dut, "msix_refused"):
        dut._log.info("interrupts share the bundle of the writes: the block cannot refuse one")
        return
    await bench.start()
    fifos = bench.parameters.num_fifos

    async def refuse():
        dut.msix_refused.value = 1
        await dut.clk.rising_edge
        dut.msix_refused.value = 0
        await bench.settle()

    await refuse()
    assert bench.counts == [0] * fifos
    for vector in range(fifos):
        for masked in range(2):
            before = bench.counts
            await bench.send(vector)
            assert bench.counts[vector] == before[vector] + 1
            if masked:
                await bench.mask(vector, True)
                await bench.pending()
            await refuse()
            if masked:
                assert await bench.pending() == 1 << vector
                await bench.mask(vector, False)
                await bench.settle()
            before[vector] += 2
            assert bench.counts == before
            await refuse()
            before[vector] += 1
            # The repeated interrupt is refused as well, and repeated once.
            assert bench.counts == before
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def confirmation_before_the_last_beat(dut):
    """A block may confirm a write's order once it has the first beat of it."""
    rng = random.Random(SEED)
    bench = DmaBench(dut, max_payload_size=512)
    confirmer = bench.host.confirmer
    if confirmer is None:
        cocotb.pass_test("not run: the build has no sequence numbers")
    await bench.start()
    region = Region(bench.host.memory, 512, rng)
    await region.fill()
    confirmer.set_delays(repeat(1000))
    sink = bench.host.sink_of("tx_wr_req_tlp")
    for _ in range(3):
        region.bytes[:] = rng.randbytes(512)
        write = cocotb.start_soon(bench.dma.write(region.address, bytes(region.bytes)))
        while not (dut.tx_wr_req_tlp_valid.value == "1" and dut.tx_wr_req_tlp_ready.value == "1"):
            await dut.clk.rising_edge
        sink.pause()
        await bench.settle(10)
        dut.wr_req_tx_seq_num_valid.value = 1
        await dut.clk.rising_edge
        dut.wr_req_tx_seq_num_valid.value = 0
        await bench.settle(50)
        assert not write.done()
        sink.resume()
        await bench.settle(50)
        assert write.done()
        # The confirmer's own pulse for this write comes later and has no effect.
        while confirmer.held:
            await bench.settle(100)
        await region.check()
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def reset_is_done_after_all_former_requests(dut):
    """After ``function_reset_done`` no former request leaves or is in the hard block, and MSI-X
    has its reset state."""
    rng = random.Random(SEED)
    bench = DmaBench(dut, max_payload_size=128)
    await bench.start()
    region = Region(bench.host.memory, 4096, rng)
    await region.fill()
    sinks = [bench.host.sink_of(bundle) for bundle in ("tx_wr_req_tlp", "tx_rd_req_tlp")]
    sinks.append(bench.host.sink_of(interrupt_bundle(dut)))
    done = dut.function_reset_done

    async def ignore_error(access):
        with suppress(DmaError):
            await access

    for round_number in range(6):
        assert done.value == "1"
        for sink in sinks:
            sink.pause()
        tasks = [
            cocotb.start_soon(ignore_error(bench.dma.write(region.address, bytes(1024))))
            for _ in range(2)
        ]
        tasks.append(cocotb.start_soon(ignore_error(bench.dma.read(region.address, 512))))
        if round_number % 2:
            await bench.source.send_message(0, slot_bytes(round_number))
        await bench.settle(rng.randrange(30, 60))
        # A reset also clears the function's settings.
        bench.host.set_pins(bus_master_enable=0, msix_enable=0)
        dut.function_reset.value = 1
        await dut.clk.rising_edge
        dut.function_reset.value = 0
        await bench.settle(100)
        assert done.value == "0", "reset done while a former TLP waits at a port"
        for sink in sinks:
            sink.resume()
        while done.value != "1":
            await done.value_change
        before = bench.monitor.requests
        confirmer = bench.host.confirmer
        assert confirmer is None or not confirmer.held
        assert (await bench.host.bar_read(AMP_PCI.msix_bar, AMP_PCI.msix_table_offset, 16)) == (
            bytes(12) + b"\1\0\0\0"
        )
        await bench.settle(200)
        assert bench.monitor.requests == before, "a former request left after reset done"
        for task in tasks:
            await task
        await bench.host.restore()
        assert await bench.load(bench.device(0, QUEUE.head_offset)) == 0
    await bench.finish()
