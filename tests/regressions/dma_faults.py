# SPDX-License-Identifier: BSD-2-Clause
"""Faults of a bus master's requests: the faulty access gets SLVERR, and no other.

Each fault hits one of several outstanding reads; the others complete, the tag is freed, and the
next access works.
"""

import random

import cocotb

from models import config_space as space
from models.dma import DmaError
from testbench.host import faults
from testbench.host.faults import Fault
from testbench.host.read_completions import Split
from testbench.tlp import CplStatus
from tests.regressions.dma_host import SEED, DmaBench, Region, slow_latencies
from tests.regressions.queue_host import PulseCounter, set_bus_mastering

SIZE = 4096
TAGS = 32
VICTIM = 1024
"""Offset of the read that the fault hits; no other access reads there."""

# The change to the answer; whether the read then times out; how many completions of the answer are
# unexpected.
WRONG_ANSWERS = {
    "unsupported_request": (faults.refused(CplStatus.UR), False, 0),
    "completer_abort": (faults.refused(CplStatus.CA), False, 0),
    "retry": (faults.refused(CplStatus.CRS), False, 0),
    "reserved_status": (faults.refused(7), False, 0),
    "abort_in_the_middle": (faults.refused(CplStatus.CA, at=1), False, 0),
    "poisoned": (faults.poisoned(), False, 0),
    "poisoned_first": (faults.poisoned(at=0), False, 0),
    "poisoned_later": (faults.poisoned(at=1), False, 0),
    "without_data": (faults.without_data(), False, 0),
    "byte_count": (faults.altered(byte_count=lambda answer: answer.byte_count + 4), False, 3),
    "byte_count_of_one": (faults.altered(byte_count=1), False, 3),
    "lower_address": (
        faults.altered(lower_address=lambda answer: answer.lower_address ^ 4),
        False,
        3,
    ),
    "too_much": (faults.too_much(), False, 0),
    "too_little": (faults.too_little(), True, 0),
    "silent": (faults.no_completions(), True, 0),
    "silent_in_the_middle": (faults.no_completions(after=1), True, 0),
}


def fault_bench(dut, **options):
    """A bench whose host answers reads of 256 bytes in four completions."""
    return DmaBench(
        dut,
        max_payload_size=128,
        max_read_request_size=256,
        memory_options={"split": Split.SMALLEST, **options},
    )


def victim_read(region):
    return lambda request: request.address == region.address + VICTIM


async def prepare(bench, rng):
    await bench.start()
    region = Region(bench.host.memory, SIZE, rng)
    await region.fill()
    return region


async def read(bench, region, offset, size):
    got = await bench.dma.read(region.address + offset, size)
    assert got == region.bytes[offset : offset + size], f"{size} bytes at {offset:#x}"


async def expect_slverr(access):
    try:
        await access
    except DmaError as error:
        assert "SLVERR" in str(error), error
        return
    raise AssertionError("the access did not fail")


async def use_every_tag(bench, region):
    """Issue more concurrent reads than there are tags, to show that no tag is lost."""
    tasks = [cocotb.start_soon(read(bench, region, 64 * n, 64)) for n in range(TAGS + 8)]
    for task in tasks:
        await task


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(name=list(WRONG_ANSWERS))
async def wrong_answer_fails_one_read(dut, name):
    """The host answers one of many reads wrongly."""
    change, times_out, unexpected = WRONG_ANSWERS[name]
    rng = random.Random(SEED)
    bench = fault_bench(dut, latency=slow_latencies(rng, tail=0))
    region = await prepare(bench, rng)
    await read(bench, region, 0, 64)
    bench.host.memory.faults.append(fault := Fault(change, victim_read(region)))

    others = [
        cocotb.start_soon(read(bench, region, offset, 300))
        for offset in (0, 512, VICTIM + 256, 2048, 3000)
    ]
    before = bench.cycles
    await expect_slverr(bench.dma.read(region.address + VICTIM, 256))
    elapsed = bench.cycles - before
    for task in others:
        await task
    timeout = bench.parameters.completion_timeout
    assert (elapsed >= timeout) == times_out and elapsed < timeout + 500, f"{elapsed} cycles"
    assert fault.matches == bench.dma_errors() == 1
    await bench.settle(200)
    assert bench.unexpected_completions() == unexpected

    await use_every_tag(bench, region)
    await bench.dma.write(region.address + VICTIM, bytes(256))
    region.bytes[VICTIM : VICTIM + 256] = bytes(256)
    await read(bench, region, VICTIM, 256)
    assert bench.dma_errors() == 1
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def payload_length_mismatch(dut):
    """A completion's payload length differs from its Length: the read fails or returns its data."""
    rng = random.Random(SEED)
    bench = fault_bench(dut)
    region = await prepare(bench, rng)
    await read(bench, region, 0, 64)
    shorter = [lambda answer: answer.payload[:-4], lambda answer: answer.payload[:4]]
    longer = [
        lambda answer, more=more: answer.payload + b"\xa5" * more
        for more in (4, 64, 128, 512, 1024)
    ]
    for at in (0, -1):
        for change in shorter + longer:
            fault = Fault(faults.altered(at, payload=change), victim_read(region))
            bench.host.memory.faults.append(fault)
            try:
                await read(bench, region, VICTIM, 256)
                assert change in longer
            except DmaError:
                pass
            assert fault.matches == 1
            if bench.parameters.top == "endpoint":
                value = await bench.host.config_read(space.DEVICE_CONTROL)
                assert space.FATAL_ERROR_DETECTED.of(value)
                await bench.host.config_write(space.DEVICE_CONTROL, value)
            await read(bench, region, 0, 2048)
    await use_every_tag(bench, region)
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def failed_read_zeroes_only_its_beats(dut):
    """A burst of several reads returns the data of the good ones, and zeros for the failed one."""
    rng = random.Random(SEED)
    bench = fault_bench(dut)
    region = await prepare(bench, rng)
    await read(bench, region, 0, 64)
    bench.host.memory.faults.append(Fault(faults.poisoned(), victim_read(region)))
    answer = await bench.dma._manager.read(region.address + VICTIM - 512, 1024)
    data = bytes(answer.data)
    assert data[:512] == region.bytes[VICTIM - 512 : VICTIM]
    assert data[512:768] == bytes(256)
    assert data[768:] == region.bytes[VICTIM + 256 : VICTIM + 512]
    assert bench.dma_errors() == 1
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def unexpected_completions_are_dropped(dut):
    """Completions without an outstanding read are dropped and counted; reads return their data."""
    rng = random.Random(SEED)
    bench = fault_bench(dut, latency=slow_latencies(rng, tail=0))
    region = await prepare(bench, rng)
    changes = [
        faults.preceded(tag=lambda answer: answer.tag ^ 16),
        faults.preceded(tag=lambda answer: answer.tag + 32),
        faults.preceded(tag=lambda answer: answer.tag + 256),
        faults.preceded(requester_id=lambda answer: answer.requester_id ^ 8),
        faults.preceded(kind=0x4B),
        faults.repeated(),
        faults.repeated(0),
    ]
    for number, change in enumerate(changes, start=1):
        bench.host.memory.faults.append(Fault(change, victim_read(region)))
        await read(bench, region, VICTIM, 256)
        await bench.settle(200)
        assert bench.unexpected_completions() == number, f"stray {number}"
    assert bench.dma_errors() == 0
    await use_every_tag(bench, region)
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def late_completion_is_unexpected(dut):
    """An answer after the timeout is unexpected and reaches no other read."""
    rng = random.Random(SEED)
    bench = fault_bench(dut)
    region = await prepare(bench, rng)
    timeout = bench.parameters.completion_timeout
    late = Fault(faults.unchanged, victim_read(region), after_ns=4 * (timeout + 1000))
    bench.host.memory.faults.append(late)
    await expect_slverr(bench.dma.read(region.address + VICTIM, 256))
    # Fewer reads than tags, so that the late read's tag is not in use when its answer arrives.
    for _ in range(8):
        await read(bench, region, 0, 200)
    await bench.settle(1500)
    assert bench.unexpected_completions() == 4 and not bench.host.memory.outstanding
    await use_every_tag(bench, region)
    assert bench.dma_errors() == 1
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def all_tags_time_out_concurrently(dut):
    """Reads to a silent host time out concurrently, not one after the other."""
    rng = random.Random(SEED)
    bench = fault_bench(dut)
    region = await prepare(bench, rng)
    bench.host.memory.faults.append(Fault(faults.no_completions(), times=TAGS))
    before = bench.cycles
    tasks = [
        cocotb.start_soon(expect_slverr(bench.dma.read(region.address + 64 * n, 64)))
        for n in range(TAGS)
    ]
    for task in tasks:
        await task
    timeout = bench.parameters.completion_timeout
    assert timeout <= bench.cycles - before < timeout + 1000
    await bench.settle(2)
    assert bench.dma_errors() == TAGS
    await use_every_tag(bench, region)
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def accesses_fail_without_bus_mastering(dut):
    """Without bus mastering every new access fails and sends nothing; outstanding reads
    complete."""
    rng = random.Random(SEED)
    bench = fault_bench(dut, latency=slow_latencies(rng, shortest_ns=2000, longest_ns=3000, tail=0))
    region = await prepare(bench, rng)
    await read(bench, region, 0, 64)
    outstanding = cocotb.start_soon(read(bench, region, 512, 1000))
    await bench.settle(30)

    await set_bus_mastering(bench, False)
    traffic = bench.monitor.traffic
    sent = traffic.reads, traffic.writes
    assert not outstanding.done()
    await outstanding
    for offset, size in ((0, 4), (3, 2), (100, 3000)):
        await expect_slverr(bench.dma.read(region.address + offset, size))
        await expect_slverr(bench.dma.write(region.address + offset, bytes(size)))
    assert (traffic.reads, traffic.writes) == sent
    assert bench.dma_errors() > 0
    await region.check()

    await set_bus_mastering(bench, True)
    await bench.dma.write(region.address + 8, b"again")
    region.bytes[8:13] = b"again"
    await read(bench, region, 0, 64)
    await region.check()
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def bus_mastering_disabled_under_load(dut):
    """Bus mastering is disabled at any time: nothing leaves after the completion of the
    configuration write, and every access gets a response."""
    rng = random.Random(SEED)
    bench = fault_bench(dut, latency=slow_latencies(rng, tail=0))
    region = await prepare(bench, rng)
    outcomes = {True: 0, False: 0}

    async def access(offset):
        data = rng.randbytes(rng.randint(1, 500))
        try:
            if rng.random() < 0.5:
                await bench.dma.read(region.address + offset, len(data))
            else:
                await bench.dma.write(region.address + offset, data)
            outcomes[True] += 1
        except DmaError:
            outcomes[False] += 1

    for _ in range(12):
        tasks = [cocotb.start_soon(access(512 * (n % 7))) for n in range(10)]
        await bench.settle(rng.randint(1, 50))
        # From here the monitor reports every request that leaves.
        await set_bus_mastering(bench, False)
        for task in tasks:
            await task
        await set_bus_mastering(bench, True)
    assert min(outcomes.values()) > 0, outcomes
    await region.fill()
    await use_every_tag(bench, region)
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def access_to_absent_host_memory(dut):
    """A read of absent host memory fails; a write to it has no effect."""
    rng = random.Random(SEED)
    bench = fault_bench(dut)
    region = await prepare(bench, rng)
    for address in (0x8000_0000, 0xFFFF_FFFF_FFFF_F000, region.address + (1 << 40)):
        await expect_slverr(bench.dma.read(address, 64))
        await bench.dma.write(address, bytes(64))
    assert len(bench.host.memory.refused_reads) == len(bench.host.memory.refused_writes) == 3
    await read(bench, region, 0, 64)
    await region.check()
    await bench.finish(refused_writes=3)


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def errors_are_recorded(dut):
    """Each error sets its own bits in configuration space and pulses its own status outputs."""
    rng = random.Random(SEED)
    bench = fault_bench(dut)
    region = await prepare(bench, rng)
    core = bench.parameters.top == "core"
    correctable = PulseCounter(dut.status_error_cor) if core else None
    uncorrectable = PulseCounter(dut.status_error_uncor) if core else None
    pulses = {
        name: PulseCounter(getattr(dut, f"status_completion_{name}")) if core else None
        for name in ("unexpected", "unsupported", "aborted", "poisoned", "timeout")
    }
    if not core:
        enable = space.PARITY_ERROR_RESPONSE.mask
        command = space.MEMORY_SPACE_ENABLE.mask | space.BUS_MASTER_ENABLE.mask | enable
        await bench.host.config_write(space.COMMAND, command, 2)

    parity = space.DETECTED_PARITY_ERROR.mask | space.MASTER_DATA_PARITY_ERROR.mask
    non_fatal = space.NON_FATAL_ERROR_DETECTED.mask
    # Change, pulse, bits of the status register, bits of the device status register.
    for change, pulse, status, device in (
        (faults.refused(CplStatus.UR), "unsupported", space.RECEIVED_MASTER_ABORT.mask, 0),
        (faults.refused(CplStatus.CA), "aborted", space.RECEIVED_TARGET_ABORT.mask, 0),
        (faults.poisoned(at=0), "poisoned", parity, non_fatal),
        (faults.no_completions(), "timeout", 0, non_fatal),
        (faults.repeated(), "unexpected", 0, space.CORRECTABLE_ERROR_DETECTED.mask),
    ):
        bench.host.memory.faults.append(Fault(change, victim_read(region)))
        if pulse == "unexpected":
            await read(bench, region, VICTIM, 256)
        else:
            await expect_slverr(bench.dma.read(region.address + VICTIM, 256))
        await bench.settle()
        if core:
            assert {name: counter.total for name, counter in pulses.items()} == {
                name: int(name == pulse) for name in pulses
            }, pulse
            assert correctable.total == (pulse == "unexpected"), pulse
            assert uncorrectable.total == (pulse in ("poisoned", "timeout")), pulse
            for counter in (correctable, uncorrectable, *pulses.values()):
                counter.clear()
            continue
        value = await bench.host.config_read(space.COMMAND)
        assert value & 0xF900_0000 == status, f"{pulse}: {value:#010x}"
        await bench.host.config_write(space.COMMAND, value)
        value = await bench.host.config_read(space.DEVICE_CONTROL)
        assert value & 0xF << 16 == device, f"{pulse}: {value:#010x}"
        await bench.host.config_write(space.DEVICE_CONTROL, value)
    await bench.finish()
