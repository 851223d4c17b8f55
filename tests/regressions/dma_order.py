# SPDX-License-Identifier: BSD-2-Clause
"""Order of DMA writes and messages: a driver that sees a message finds the earlier data.

Writes that the window accepts before a message leave before the message advances head and before
its interrupt; PCI Express Base 4.0 section 2.4.1 keeps that order up to the host.
"""

import random

import cocotb

from models.shell import AMP_PCI
from testbench.stream import pacing
from tests.regressions.dma_host import ABOVE_4G, SEED, DmaBench, Region, Writer, run_immediately
from tests.regressions.queue_host import QUEUE, slot_bytes

ROUNDS = 25


async def open_bench(dut, rng, *, stalls=True):
    options = {}
    if stalls:
        options["host_stall"] = pacing.randomly(rng.getrandbits(32), 0.7, 8)
    bench = DmaBench(dut, max_payload_size=128, **options)
    await bench.start()
    if stalls and bench.parameters.top == "core":
        # Stall the bundle of the writes, not that of the interrupts.
        stall = pacing.randomly(rng.getrandbits(32), 0.7, 12)
        bench.host.sinks["tx_wr_req_tlp"].set_stall(stall)
    region = Region(bench.host.memory, 4096, rng, base=rng.choice([None, ABOVE_4G]))
    await region.fill()
    return bench, region


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def interrupt_follows_earlier_writes(dut):
    """At the interrupt, the data accepted before the message is in host memory."""
    rng = random.Random(SEED)
    bench, region = await open_bench(dut, rng)
    writer = Writer(dut)
    fifos = bench.parameters.num_fifos
    seen = []

    def interrupted(vector):
        # Read memory in the callback: no simulation time may pass after the interrupt.
        got = run_immediately(region.memory.read(region.address, region.size))
        seen.append((vector, bytes(got) == bytes(region.bytes)))

    bench.host.on_interrupt.append(interrupted)
    for number in range(ROUNDS):
        fifo = number % fifos
        size = writer.lanes * rng.randint(1, 512 // writer.lanes)
        offset = rng.randrange(0, region.size - size + 1, writer.lanes)
        data = rng.randbytes(size)
        await writer.write_burst(region.address + offset, data)
        region.bytes[offset : offset + size] = data
        message = slot_bytes(number)[: rng.choice([8, 33, 64])]
        await bench.source.send_message(fifo, message)
        await writer.wait_response()
        while len(seen) <= number:
            await bench.settle(10)
        assert seen[number] == (AMP_PCI.vector_of(fifo, fifos), True), f"message {number}"
        head = await bench.device_head(fifo)
        slot = await bench.device_slot(fifo, (head - 1) % QUEUE.capacity)
        assert slot == message.ljust(QUEUE.slot_size, b"\0"), f"message {number}"
        await bench.store(bench.device(fifo, QUEUE.tail_offset), head)
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def head_follows_earlier_writes(dut):
    """A host that polls head finds the data in memory once head has advanced."""
    rng = random.Random(SEED)
    bench, region = await open_bench(dut, rng)
    writer = Writer(dut)
    head = bench.device(0, QUEUE.head_offset)
    for number in range(ROUNDS):
        size = writer.lanes * rng.randint(1, 512 // writer.lanes)
        data = rng.randbytes(size)
        await writer.write_burst(region.address, data)
        region.bytes[:size] = data
        sent = cocotb.start_soon(bench.source.send_message(0, slot_bytes(number)))
        while await bench.load(head) != (number + 1) % QUEUE.capacity:
            pass
        got = run_immediately(region.memory.read(region.address, region.size))
        assert bytes(got) == bytes(region.bytes), f"message {number}"
        await sent
        await writer.wait_response()
        await bench.store(bench.device(0, QUEUE.tail_offset), (number + 1) % QUEUE.capacity)
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def later_writes_do_not_delay_messages(dut):
    """Continuous writes of the device side do not stall its messages."""
    rng = random.Random(SEED)
    bench, region = await open_bench(dut, rng, stalls=False)
    lanes = bench.parameters.data_width // 8
    stop = []

    async def keep_writing():
        while not stop:
            await bench.dma.write(region.address, bytes(2 * lanes))

    # Enough tasks, and a slow enough link, to keep the window full.
    bench.host.sink_of("tx_wr_req_tlp").set_stall(pacing.every([8]))
    tasks = [cocotb.start_soon(keep_writing()) for _ in range(16)]
    await bench.settle(1000)
    for number in range(10):
        before = bench.cycles
        await bench.source.send_message(0, slot_bytes(number))
        # At most the bursts in the window go first, at the speed of the link.
        assert bench.cycles - before < 500, f"message {number}"
    stop.append(True)
    for task in tasks:
        await task
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def unfinished_burst_does_not_delay_messages(dut):
    """A burst whose data stops half-way stalls neither messages nor completions."""
    rng = random.Random(SEED)
    bench, region = await open_bench(dut, rng, stalls=False)
    writer = Writer(dut)
    lanes = writer.lanes
    count = 1024 // lanes
    await writer.begin_write(region.address, count)
    await writer.send_beats(b"\xa5" * lanes * (count // 2), ends=False)
    await bench.settle(200)
    for number in range(3):
        await bench.source.send_message(0, slot_bytes(number))
    await bench.settle(100)
    # Interrupts raised faster than they leave merge into one.
    assert 1 <= bench.host.interrupts[0] <= 3 and await bench.device_head(0) == 3
    await writer.send_beats(b"\xa5" * (1024 - lanes * (count // 2)))
    await writer.wait_response()
    region.bytes[:1024] = b"\xa5" * 1024
    await region.check()
    await bench.finish()
