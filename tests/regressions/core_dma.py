# SPDX-License-Identifier: BSD-2-Clause
"""The core's DMA bundles behind a hard block: independent back-pressure, and error codes."""

import contextlib
import random

import cocotb

from models.config_space import SETTLING_CYCLES
from models.dma import DmaError
from models.shell import AMP_PCI
from testbench.tlp import CompletionErrorCode
from testbench.tlp.monitor import interrupt_bundle
from tests.regressions.dma_faults import (
    VICTIM,
    expect_slverr,
    fault_bench,
    prepare,
    read,
    use_every_tag,
)
from tests.regressions.dma_host import SEED, DmaBench, Region, Writer
from tests.regressions.queue_host import QUEUE, set_pins, slot_bytes


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def completion_error_codes_of_a_hard_block(dut):
    """The hard block's error code decides about a completion, whatever the header says."""
    rng = random.Random(SEED)
    bench = fault_bench(dut)
    region = await prepare(bench, rng)
    normal_error = bench.host.completion_error
    for code in CompletionErrorCode:
        bench.host.completion_error = lambda answer, code=code: code
        if code == CompletionErrorCode.NONE:
            await read(bench, region, VICTIM, 256)
        else:
            await expect_slverr(bench.dma.read(region.address + VICTIM, 256))
        await bench.settle(100)
        bench.host.completion_error = normal_error
        await use_every_tag(bench, region)
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def stalled_bundle_does_not_stall_others(dut):
    """While one bundle of reads, writes, completions or interrupts stalls, the others continue."""
    rng = random.Random(SEED)
    bench = DmaBench(dut)
    await bench.start()
    region = Region(bench.host.memory, 4096, rng)
    await region.fill()
    await bench.dma.read(region.address, 64)
    sinks = bench.host.sinks
    tail, head = bench.device(0, QUEUE.tail_offset), bench.device(0, QUEUE.head_offset)

    async def read_memory():
        await read(bench, region, 100, 600)

    async def write_memory():
        data = rng.randbytes(700)
        await bench.dma.write(region.address + 2000, data)
        region.bytes[2000:2700] = data

    async def access_bar():
        await bench.store(0x3000, 0x1234)
        assert await bench.load(0x3000) == 0x1234

    async def send_message():
        before = bench.host.interrupts[0]
        await bench.source.send_message(0, slot_bytes(1))
        while bench.host.interrupts[0] == before:
            await bench.settle(5)

    accesses = {
        "tx_rd_req_tlp": read_memory,
        "tx_wr_req_tlp": write_memory,
        "tx_cpl_tlp": access_bar,
    }
    if interrupt_bundle(dut) not in accesses:
        accesses[interrupt_bundle(dut)] = send_message
    for stalled in accesses:
        sinks[stalled].pause()
        # A message waits for the writes before it, so a stalled write starts after the others.
        stalled_access = None
        if stalled != "tx_wr_req_tlp":
            stalled_access = cocotb.start_soon(accesses[stalled]())
            await bench.settle(20)
        for name, access in accesses.items():
            if name != stalled:
                await access()
        if stalled_access is None:
            stalled_access = cocotb.start_soon(accesses[stalled]())
        await bench.settle(200)
        assert not stalled_access.done(), f"{stalled} does not stall"
        sinks[stalled].resume()
        await stalled_access
        await bench.store(tail, await bench.load(head))
    await region.check()
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def message_dropped_while_waiting_for_writes(dut):
    """The host rewrites head while a message waits for writes: the next message waits as well."""
    rng = random.Random(SEED)
    bench = DmaBench(dut)
    await bench.start()
    writer = Writer(dut)
    region = Region(bench.host.memory, 4096, rng)
    await region.fill()
    stream = bench.host.sinks["tx_wr_req_tlp"]
    head, tail = bench.device(0, QUEUE.head_offset), bench.device(0, QUEUE.tail_offset)
    for number in range(4):
        stream.pause()
        data = rng.randbytes(512)
        await writer.write_burst(region.address, data)
        region.bytes[:512] = data
        first = cocotb.start_soon(bench.source.send_message(0, slot_bytes(0)))
        await bench.settle(30)
        await bench.store(head, 0)
        second = cocotb.start_soon(bench.source.send_message(0, slot_bytes(1)))
        await bench.settle(60)
        assert await bench.load(head) == 0, f"round {number}: a message passed the write"
        before = bench.host.interrupts[0]
        stream.resume()
        await first
        await second
        await writer.wait_response()
        await bench.settle()
        assert bench.host.interrupts[0] > before
        await region.check()
        await bench.store(tail, 0)
        await bench.store(head, 0)
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def settings_settle_after_former_tlps(dut):
    """A lowered setting settles only after the stalled TLPs of each bundle that it concerns."""
    rng = random.Random(SEED)
    bench = DmaBench(dut, max_payload_size=128, max_read_request_size=4096)
    await bench.start()
    region = Region(bench.host.memory, 4096, rng)
    await region.fill()
    await bench.dma.read(region.address, 64)
    full = {
        "max_payload_size": 5,
        "max_read_request_size": 5,
        "bus_master_enable": 1,
        "msix_enable": 1,
        "msix_mask": 0,
        "function_reset": 0,
    }
    lowered = {**dict.fromkeys(full, 0), "msix_mask": 1, "function_reset": 1}

    async def interrupt():
        await bench.source.send_message(0, slot_bytes(1))

    async def ignore_error(access):
        with contextlib.suppress(DmaError):
            await access

    cases = (
        (
            "tx_cpl_tlp",
            lambda: bench.host.bar_read(AMP_PCI.fifo_bar, 0x3000, 1024),
            {"max_payload_size"},
        ),
        (
            "tx_rd_req_tlp",
            lambda: ignore_error(bench.dma.read(region.address, 1024)),
            {"max_read_request_size", "bus_master_enable", "function_reset"},
        ),
        (
            "tx_wr_req_tlp",
            lambda: ignore_error(bench.dma.write(region.address, bytes(1024))),
            {"max_payload_size", "bus_master_enable", "function_reset"},
        ),
        (
            interrupt_bundle(dut),
            interrupt,
            {"msix_enable", "msix_mask", "bus_master_enable", "function_reset"},
        ),
    )
    settled = dut.status_config_settled
    for bundle, start_access, concerned in cases:
        for pin, lowered_value in lowered.items():
            sink = bench.host.sink_of(bundle)
            sink.pause()
            await set_pins(bench, **full)
            task = cocotb.start_soon(start_access())
            while getattr(dut, f"{bundle}_valid").value != "1":
                await bench.settle(1)
            await bench.settle(rng.randrange(50))
            bench.host.set_pins(**{pin: lowered_value})
            if pin == "function_reset":
                await bench.settle(1)
                bench.host.set_pins(function_reset=0)
            await bench.settle(SETTLING_CYCLES + 1)
            if pin not in concerned:
                # ``status_config_settled`` may be low for some cycles.
                await bench.settle(4)
            for _ in range(40):
                assert settled.value == str(int(pin not in concerned)), f"{bundle}, {pin}"
                await bench.settle(1)
            sink.resume()
            # A message may wait for the previous interrupt, then its own interrupt for the setting.
            for _ in range(400):
                if settled.value == "1":
                    break
                await bench.settle(1)
            assert settled.value == "1", f"{bundle}, {pin}: never settles"
            bench.host.set_pins(**full)
            await task
            if pin == "function_reset":
                bench.monitor.forget_outstanding()
                await bench.host.restore()
            await bench.settle()
            tail = await bench.load(bench.device(0, QUEUE.head_offset))
            await bench.store(bench.device(0, QUEUE.tail_offset), tail)
            await bench.settle()
    await bench.finish()
