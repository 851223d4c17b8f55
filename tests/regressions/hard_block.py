# SPDX-License-Identifier: BSD-2-Clause
"""The endpoint behind a hard block: its promises hold on the link side of the block."""

import os
import random
from contextlib import suppress
from itertools import count

import cocotb
from cocotb.triggers import First, Timer
from cocotbext.pcie.core.caps import PciCapId

from models import config_space as space
from models.dma import PAGE, DmaError
from models.shell import AMP_PCI, MSIX_ENTRY_SIZE
from testbench.stream import pacing
from testbench.system import GatewareSystem
from tests.regressions.dma_host import SEED, DmaBench, Region, Writer, use_memory
from tests.regressions.lowered_settings import Load, SentTlps
from tests.regressions.queue_host import QUEUE, QueueBench, slot_bytes
from tests.scenarios import SCENARIOS, devices, programs

STATIC = 0x3000
"""A page of the FIFO BAR that no queue uses."""
HIGH = 1 << 36
NOWHERE = 0x7000_0000
"""An address without host memory."""
DEVICE_CONTROL = 8
"""Offset in the PCI Express capability."""
SCENARIO_NAMES = os.environ.get("SCENARIOS", " ".join(SCENARIOS)).split()
CROSSING_CYCLES = 400
"""Cycles in which everything in flight crosses the link."""


def device_control(payload, read_request):
    """Device Control with these codes of Max_Payload_Size and Max_Read_Request_Size."""
    return payload << space.MAX_PAYLOAD_SIZE.lsb | read_request << space.MAX_READ_REQUEST_SIZE.lsb


def slow_down(bench, rng, *directions, probability=0.5):
    """Pause those of the block's streams whose names start with one of ``directions``.

    ``to`` starts the names of the streams to the design, ``from`` those from it.
    """
    for name, end in bench.block.streams.items():
        if any(name.startswith(direction) for direction in directions):
            pauses = pacing.randomly(rng.getrandbits(32), probability)
            end.set_pause_generator(bool(pause) for pause in pauses)


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def enumeration(dut):
    """The block has the function's BARs and vectors, and the register BAR answers."""
    bench = QueueBench(dut)
    await bench.start()
    function, parameters = bench.host.function, bench.parameters
    sizes = AMP_PCI.bar_sizes(parameters.num_fifos, parameters.layout)
    assert {bar: function.bar_size[bar] for bar in sizes} == sizes
    assert bench.host.vectors == AMP_PCI.num_vectors(parameters.num_fifos)
    version = await bench.host.bar_read(AMP_PCI.register_bar, AMP_PCI.version_offset, 4)
    assert int.from_bytes(version, "little") == AMP_PCI.version
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def sizes_and_alignments(dut):
    """Reads and writes of many sizes at any offset, with pauses on every stream."""
    rng = random.Random(SEED)
    bench = QueueBench(dut, max_payload_size=rng.choice([128, 256, 512]))
    await bench.start()
    slow_down(bench, rng, "to", "from")
    content = bytearray(rng.randbytes(PAGE))
    await bench.store_bytes(STATIC, bytes(content))
    for _ in range(60):
        size = rng.choice([1, 2, 3, 4, 5, 8, 13, 64, 100, 300, 1500, PAGE])
        offset = rng.randrange(PAGE - size + 1)
        if rng.random() < 0.5:
            data = rng.randbytes(size)
            await bench.store_bytes(STATIC + offset, data)
            content[offset : offset + size] = data
        got = await bench.host.bar_read(AMP_PCI.fifo_bar, STATIC + offset, size)
        assert got == content[offset : offset + size], f"{size} bytes at {offset:#x}, seed {SEED}"
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def back_to_back_requests(dut):
    """Back-to-back reads and writes, with completions at full speed and almost stalled."""
    rng = random.Random(SEED)
    bench = QueueBench(dut)
    await bench.start()
    content = rng.randbytes(PAGE)
    await bench.store_bytes(STATIC, content)

    async def read(offset, size):
        got = await bench.host.bar_read(AMP_PCI.fifo_bar, STATIC + offset, size)
        assert got == content[offset : offset + size], f"{size} bytes at {offset:#x}, seed {SEED}"

    for stall in (0, 0.97):
        if stall:
            slow_down(bench, rng, "from", probability=stall)
        reads = []
        for _ in range(24):
            size = rng.randrange(1, 256)
            offset = rng.randrange(PAGE // 2, PAGE - size + 1)
            reads.append(cocotb.start_soon(read(offset, size)))
        # Pending reads must neither block nor corrupt writes.
        content = rng.randbytes(PAGE // 2) + content[PAGE // 2 :]
        await bench.store_bytes(STATIC, content[: PAGE // 2])
        reads.append(cocotb.start_soon(read(0, PAGE)))
        for read_task in reads:
            await read_task
    await bench.settle(CROSSING_CYCLES)
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(revision=["v1", "r1"], name=SCENARIO_NAMES)
async def exchange(dut, revision, name):
    """The scenarios run with the project's own driver."""
    rng = random.Random(SEED)
    system = GatewareSystem(dut, devices(len(dut.device_queue_ready)), revision=revision)
    await system.start()
    slow_down(system, rng, "to", "from", probability=0.2)
    for task in [cocotb.start_soon(program) for program in programs(name, system)]:
        await task
    # Wait for the completion of each driver's last flush.
    await system.settle(CROSSING_CYCLES)
    await system.finish()
    assert not any(driver.unclaimed for driver in system.drivers)


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def interrupts_reach_their_address(dut):
    """Interrupts reach addresses below and above 4 GiB; a masked one leaves when unmasked."""
    rng = random.Random(SEED)
    bench = QueueBench(dut)
    await bench.start()
    host, tail = bench.host, bench.device(0, QUEUE.tail_offset)
    sent = 0
    for base in (0, HIGH):
        target = host.memory.allocate(PAGE, base=base)
        data = rng.getrandbits(32)
        entry = target.to_bytes(8, "little") + data.to_bytes(4, "little")
        entry_offset = AMP_PCI.msix_table_offset

        async def arrived(target=target, data=data):
            return await host.memory.read(target, 4) == data.to_bytes(4, "little")

        async def send(target=target):
            nonlocal sent
            await host.memory.write(target, bytes(4))
            await bench.source.send_message(0, slot_bytes(sent))
            sent += 1
            await bench.settle(CROSSING_CYCLES)
            await bench.store(tail, sent % QUEUE.capacity)

        await host.bar_write(AMP_PCI.msix_bar, entry_offset, entry + bytes(4))
        # The read does not pass the write: it flushes it.
        assert await host.bar_read(AMP_PCI.msix_bar, entry_offset, 16) == entry + bytes(4)
        await send()
        assert await arrived(), f"nothing at {target:#x}"
        await host.bar_write(AMP_PCI.msix_bar, entry_offset + MSIX_ENTRY_SIZE - 4, b"\1\0\0\0")
        await host.bar_read(AMP_PCI.msix_bar, entry_offset, 16)
        await send()
        assert not await arrived(), "a masked vector was sent"
        await host.bar_write(AMP_PCI.msix_bar, entry_offset + MSIX_ENTRY_SIZE - 4, bytes(4))
        await bench.settle(CROSSING_CYCLES)
        assert await arrived(), "an unmasked vector was not sent"
    await bench.finish()


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def host_memory_accesses(dut):
    """Accesses to host memory below and above 4 GiB, with pauses and split completions."""
    rng = random.Random(SEED)
    bench = DmaBench(dut, max_payload_size=rng.choice([128, 256, 512]))
    bench.host.rc.split_on_all_rcb = True
    await bench.start()
    await bench.host.function.set_readrq(rng.randrange(6))
    slow_down(bench, rng, "to", "from")
    regions = [Region(bench.host.memory, 8192, rng, base=base) for base in (0, HIGH, 0, HIGH)]
    for region in regions:
        await region.fill()
    tasks = [
        cocotb.start_soon(use_memory(bench, region, random.Random(rng.getrandbits(32)), 12))
        for region in regions
    ]
    for task in tasks:
        await task
    await bench.settle(200)
    for region in regions:
        await region.check()
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def outstanding_reads_fit_the_completion_buffer(dut):
    """While completions stall in the block, outstanding reads do not exceed its buffer; the rest
    follows later."""
    rng = random.Random(SEED)
    bench = DmaBench(dut)
    await bench.start()
    await bench.host.function.set_readrq(2)
    region = Region(bench.host.memory, 16 * PAGE, rng)
    await region.fill()
    stalled = True
    for name, end in bench.block.streams.items():
        if name.startswith("to"):
            end.set_pause_generator(stalled for _ in count())
    read = cocotb.start_soon(bench.dma.read(region.address, len(region.bytes)))
    await bench.settle(5 * CROSSING_CYCLES)
    assert not read.done()
    stalled = False
    assert await read == region.bytes
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def reads_without_credits_do_not_stall_others(dut):
    """While the host grants no credits for reads, writes and completions leave; then the reads."""
    rng = random.Random(SEED)
    bench = DmaBench(dut)
    if not bench.block.design_counts_credits:
        cocotb.pass_test("not run: in the model of this block no TLP passes a read")
    await bench.start()
    await bench.host.function.set_readrq(0)
    region = Region(bench.host.memory, 8 * PAGE, rng)
    await region.fill()
    credits = bench.block.device.upstream_port.other.fc_state[0].nph
    release, withheld = credits.rx_release_fc, []
    credits.rx_release_fc = withheld.append
    read = cocotb.start_soon(bench.dma.read(region.address, len(region.bytes)))
    while credits.rx_credits_received != credits.rx_credits_allocated:
        await bench.settle(10)
    await bench.settle(CROSSING_CYCLES)
    data = rng.randbytes(PAGE)
    await bench.dma.write(region.address + PAGE, data)
    assert await bench.load(bench.device(0, QUEUE.head_offset)) == 0
    assert await bench.host.memory.read(region.address + PAGE, PAGE) == data
    assert not read.done() and credits.rx_credits_received == credits.rx_credits_allocated
    del credits.rx_release_fc
    release(sum(withheld))
    got = await read
    assert got[:PAGE] + got[2 * PAGE :] == region.bytes[:PAGE] + region.bytes[2 * PAGE :]
    await bench.settle(CROSSING_CYCLES)
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def head_and_interrupt_follow_earlier_writes(dut):
    """Writes accepted before a message are in memory when head advances and when the interrupt
    arrives, also while requests stall."""
    rng = random.Random(SEED)
    bench = DmaBench(dut, max_payload_size=128)
    await bench.start()
    slow_down(bench, rng, "from requests", probability=0.7)
    region = Region(bench.host.memory, PAGE, rng)
    await region.fill()
    writer = Writer(bench.dut)
    head, tail = bench.device(0, QUEUE.head_offset), bench.device(0, QUEUE.tail_offset)
    interrupt = bench.host.interrupt(0)
    for number in range(20):
        size = writer.lanes * rng.randint(1, 512 // writer.lanes)
        data = rng.randbytes(size)
        await writer.write_burst(region.address, data)
        region.bytes[:size] = data
        sent = cocotb.start_soon(bench.source.send_message(0, slot_bytes(number)))
        if number % 2:
            await interrupt.wait()
        else:
            while await bench.load(head) != (number + 1) % QUEUE.capacity:
                pass
        await region.check()
        await sent
        await writer.wait_response()
        await bench.settle(CROSSING_CYCLES)
        interrupt.clear()
        await bench.store(tail, (number + 1) % QUEUE.capacity)
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def every_completion_error_fails_its_read(dut):
    """Every error code of the block fails its read, and the next read is correct."""
    rng = random.Random(SEED)
    bench = DmaBench(dut)
    await bench.start()
    region = Region(bench.host.memory, PAGE, rng)
    await region.fill()
    for _ in range(2):
        # The host answers a read of absent memory with an error.
        try:
            await bench.dma.read(NOWHERE, 64)
            raise AssertionError("a refused read succeeded")
        except DmaError:
            pass
        for _ in range(33):
            assert await bench.dma.read(region.address, 64) == region.bytes[:64]
    queue = getattr(bench.block.device, "rc_queue", None)
    if queue is None:
        # This block forwards completions unchanged, without error codes.
        await bench.finish()
        return
    put = queue.put_nowait
    for code in (0b0001, 0b0010, 0b0011, 0b0100, 0b0101, 0b1001, 0b1000):

        def broken(tlp, code=code):
            tlp.error_code = code
            put(tlp)

        queue.put_nowait = broken
        try:
            await bench.dma.read(region.address, 64)
            raise AssertionError(f"a read with error code {code:#06b} succeeded")
        except DmaError:
            pass
        queue.put_nowait = put
        for _ in range(33):
            assert await bench.dma.read(region.address, 64) == region.bytes[:64]
    await bench.finish()


async def check_all_end(bench, tasks):
    """Check that every access ends, at the latest with the completion timeout."""
    timeout = Timer(4 * 4 * bench.parameters.completion_timeout, "ns")
    for task in tasks:
        assert await First(task, timeout) is not timeout, f"an access does not end, seed {SEED}"


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def sizes_lowered_under_load(dut):
    """No longer TLP leaves after the design has settled and the block has sent what it holds; data
    stay intact, and the load continues."""
    rng = random.Random(SEED)
    bench = DmaBench(dut, max_payload_size=128)
    await bench.start()
    slow_down(bench, rng, "from", probability=0.2)
    load = Load(bench, rng)
    await load.prepare()
    sent_tlps = SentTlps(bench)
    function, monitor = bench.host.function, bench.monitor
    offset = function.get_capability_offset(PciCapId.EXP) + DEVICE_CONTROL
    load.start()
    for payload, read_request in ((0, 2), (1, 1), (0, 0)):
        for codes in ((2, 2), (payload, read_request)):
            await function.config_write_word(offset, device_control(*codes))
            sizes = tuple(map(space.coded_size, codes))
            for _ in range(400):
                if (monitor.max_payload_size, monitor.max_read_request_size) == sizes:
                    break
                await bench.settle(10)
            else:
                raise AssertionError(f"{sizes} are not in effect under load, seed {SEED}")
            longest = min(sizes[0], 512), min(sizes[1], 512)
            await sent_tlps.until(
                lambda sent, longest=longest: (
                    max(sent.writes, default=0) == longest[0]
                    and max(sent.reads, default=0) >= longest[1]
                )
            )
            # The monitor checks each TLP against the size in effect; check the seen ones here too.
            assert max(sent_tlps.writes + sent_tlps.completions) <= sizes[0]
            assert max(sent_tlps.reads) <= sizes[1]
    await load.stop()
    await bench.finish()


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def bus_mastering_disabled_under_load(dut):
    """Every access ends although the block drops the requests it holds; later accesses work."""
    rng = random.Random(SEED)
    bench = DmaBench(dut)
    await bench.start()
    regions = [Region(bench.host.memory, PAGE, rng) for _ in range(4)]
    for region in regions:
        await region.fill()
    command = space.MEMORY_SPACE_ENABLE.mask

    async def access(region, write):
        try:
            if write:
                await bench.dma.write(region.address, bytes(region.bytes[:2048]))
            else:
                await bench.dma.read(region.address, 2048)
        except DmaError:
            return False
        return True

    for number in range(5):
        tasks = [
            cocotb.start_soon(access(region, write)) for region in regions for write in (0, 1) * 2
        ]
        await bench.settle(rng.randrange(10, 200))
        if number >= 3:
            # For a shorter time than two configuration writes take.
            bench.block.set_bus_mastering(False)
            await bench.settle(rng.randrange(5, 60))
            bench.block.set_bus_mastering(True)
        else:
            await bench.host.function.config_write_word(space.COMMAND, command)
        await check_all_end(bench, tasks)
        await bench.host.function.config_write_word(
            space.COMMAND, command | space.BUS_MASTER_ENABLE.mask
        )
        await bench.settle(CROSSING_CYCLES)
        accesses = [cocotb.start_soon(access(regions[0], write)) for write in (True, False)]
        await check_all_end(bench, accesses)
        assert all(task.result() for task in accesses), f"seed {SEED}"
    # Requests that the block dropped have no answer.
    bench.monitor.forget_outstanding()
    await bench.settle(200)
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def function_level_reset(dut):
    """When the design reports the reset done, no former state or request remains, with and without
    load."""
    rng = random.Random(SEED)
    bench = DmaBench(dut)
    await bench.start()
    region = Region(bench.host.memory, PAGE, rng)
    await region.fill()

    async def write():
        # A write in flight may fail before the design reports the reset done.
        with suppress(DmaError):
            await bench.dma.write(region.address, bytes(region.bytes))

    for number in range(4):
        tasks = []
        if number % 2:
            tasks = [cocotb.start_soon(write()) for _ in range(4)]
            await bench.settle(rng.randrange(60))
        await bench.store(bench.driver(0, QUEUE.head_offset), 5)
        await bench.settle(20)
        await bench.block.function_reset()
        for task in tasks:
            await task
        await bench.settle(CROSSING_CYCLES)
        assert await bench.load(bench.driver(0, QUEUE.head_offset)) == 0
        entry = await bench.host.bar_read(AMP_PCI.msix_bar, AMP_PCI.msix_table_offset, 16)
        assert entry == bytes(12) + b"\1\0\0\0"
    await bench.finish()
