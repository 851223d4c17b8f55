# SPDX-License-Identifier: BSD-2-Clause
"""Tests of the hosts and the device port on the gateware; ``test_gateware.py`` runs them."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import cocotb
import pytest
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, Timer, with_timeout
from cocotb.utils import get_sim_time

from models.config_space import DEVICE_CONTROL, EXTENDED_TAG_ENABLE
from models.dma import DmaError
from testbench.axi.channels import drive_idle
from testbench.axi.dma import AxiDma, random_pauses
from testbench.device_port import StreamDevicePort
from testbench.host import faults
from testbench.host.bfm import CoreBfm, EndpointBfm
from testbench.host.faults import Fault
from testbench.host.memory_completer import latencies
from testbench.host.read_completions import Split
from testbench.host.requester import CompletionError, HostError, TlpTimeout
from testbench.host.root_complex import RootComplexHost
from testbench.host.thin import TlpHost
from testbench.parameters import parameters
from testbench.stream import pacing
from testbench.tlp import CplStatus, Tlp, TlpKind
from testbench.tlp.monitor import CORE_TO_DESIGN, TlpMonitor, bundles_of
from testbench.tlp.packets import completion, memory_read

LIMIT: dict[str, Any] = {"timeout_time": 2, "timeout_unit": "ms"}
BUILD = parameters()
CORE = BUILD.top == "core"
SHELL, LAYOUT = BUILD.shell, BUILD.layout
QUEUE = LAYOUT.queue
PERIOD_NS = 4
TIMEOUT_NS = PERIOD_NS * BUILD.completion_timeout


async def reset(dut: Any) -> None:
    dut.rst.value = 1
    await ClockCycles(dut.clk, 4)
    dut.rst.value = 0
    await dut.clk.rising_edge


async def thin_host(dut: Any, **options: Any) -> tuple[Any, TlpMonitor]:
    """Start a thin host on the top under test, with a monitor."""
    Clock(dut.clk, PERIOD_NS, "ns", impl="gpi").start()
    drive_idle(dut)
    host: TlpHost
    if CORE:
        host = CoreBfm(dut, shell=SHELL, layout=LAYOUT, num_fifos=BUILD.num_fifos, **options)
        monitor = TlpMonitor.attach(
            dut,
            to_design=CORE_TO_DESIGN,
            from_design=bundles_of(dut),
            device_id=host.device_id,
            bus_master=True,
            max_payload_size=host.max_payload_size,
            completion_timeout_ns=TIMEOUT_NS,
        )
    else:
        host = EndpointBfm(dut, num_fifos=BUILD.num_fifos, **options)
        monitor = TlpMonitor.attach(dut, completion_timeout_ns=TIMEOUT_NS)
    await reset(dut)
    await host.start()
    return host, monitor


async def check_memory(host: Any) -> None:
    """Check the host's memory below and above 4 GiB."""
    for base in (None, 1 << 36):
        address = host.memory.allocate(100, 256, base=base)
        assert address % 256 == 0 and (address >= 1 << 36) == (base is not None)
        await host.memory.write(address + 1, b"software")
        assert await host.memory.read(address, 100) == b"\0software" + bytes(91)


async def exercise(host: Any, port: StreamDevicePort) -> None:
    """Exercise a host: registers, memory, a message in each direction, an interrupt."""
    version = await host.bar_read(SHELL.register_bar, SHELL.version_offset, 4)
    assert int.from_bytes(version, "little") == SHELL.version
    generator = random.Random(1)
    base = LAYOUT.device_queue_base(0) + QUEUE.slots_offset
    for size in (1, 3, 4, 64, 65, 700, 1500):
        offset = base + generator.randrange(64)
        data = generator.randbytes(size)
        await host.bar_write(SHELL.fifo_bar, offset, data)
        assert await host.bar_read(SHELL.fifo_bar, offset, size) == data
    first, second = host.interrupt(1), host.interrupt(1)
    await port.send(1, bytes(range(40)))
    await first.wait()
    assert second.is_set()
    slot = LAYOUT.device_queue_base(1) + QUEUE.slot_offset(0)
    assert await host.bar_read(SHELL.fifo_bar, slot, 64) == bytes(range(40)) + bytes(24)
    assert +Counter(host.interrupts) == Counter({1: 1})
    queue = LAYOUT.driver_queue_base(1)
    await host.bar_write(SHELL.fifo_bar, queue + QUEUE.slot_offset(0), bytes(range(64)))
    await host.bar_write(SHELL.fifo_bar, queue + QUEUE.head_offset, b"\1\0\0\0")
    await host.bar_write(SHELL.register_bar, SHELL.notify(1), b"\1\0\0\0")
    assert await with_timeout(port.receive(), 20, "us") == (1, bytes(range(64)))


@cocotb.test(**LIMIT)
@cocotb.parametrize(msi_address=[0xFEE0_0000, 0x12_0000_0000])
async def thin_host_accesses_everything(dut: Any, msi_address: int) -> None:
    host, monitor = await thin_host(
        dut, idle=pacing.randomly(1), stall=pacing.randomly(2), msi_address=msi_address
    )
    await check_memory(host)
    await exercise(host, StreamDevicePort(dut))
    monitor.finish()


@cocotb.test(skip=CORE, **LIMIT)
@cocotb.parametrize(max_payload_size=[128, 512])
async def root_complex_accesses_everything(dut: Any, max_payload_size: int) -> None:
    Clock(dut.clk, PERIOD_NS, "ns", impl="gpi").start()
    drive_idle(dut)
    host = RootComplexHost(
        dut,
        num_fifos=BUILD.num_fifos,
        max_payload_size=max_payload_size,
        idle=pacing.randomly(3),
        stall=pacing.randomly(4),
    )
    monitor = TlpMonitor.attach(dut)
    await reset(dut)
    with pytest.raises(HostError, match=r"BAR0 does not exist, or start\(\) was not called"):
        await host.bar_read(0, 0, 4)
    function = await host.start()
    assert (function.vendor_id, function.device_id) == (SHELL.vendor_id, SHELL.device_id)
    assert host.vectors == SHELL.num_vectors(BUILD.num_fifos)
    await check_memory(host)
    await exercise(host, StreamDevicePort(dut))
    assert monitor.max_payload_size == max_payload_size
    monitor.finish()


@cocotb.test(skip=not CORE, **LIMIT)
async def core_counts_unexpected_completions(dut: Any) -> None:
    host, monitor = await thin_host(dut)
    for tag in range(5):
        read = memory_read(0x1000, 64, requester_id=host.device_id, tag=tag)
        host.complete_nowait(completion(read, host.requester_id, bytes(64)))
    await with_timeout(host.completion_source.drained(), 5, "us")
    assert int(dut.count_unexpected_completions.value) == 5
    monitor.finish()


@cocotb.test(skip=CORE, **LIMIT)
@cocotb.parametrize(extended_tags=[False, True])
async def tag_size_is_set(dut: Any, extended_tags: bool) -> None:
    host, monitor = await thin_host(dut, extended_tags=extended_tags)
    control = await host.config_read(DEVICE_CONTROL, 2)
    assert EXTENDED_TAG_ENABLE.of(control) == monitor.extended_tags == extended_tags
    monitor.finish()


@cocotb.test(skip=CORE, **LIMIT)
async def thin_host_enumerates_the_function(dut: Any) -> None:
    host, _ = await thin_host(dut)
    function = host.function
    assert (function.vendor_id, function.device_id) == (SHELL.vendor_id, SHELL.device_id)
    assert (function.revision, function.class_code) == (SHELL.revision, SHELL.class_code)
    assert function.bar_sizes == SHELL.bar_sizes(BUILD.num_fifos, LAYOUT)
    assert function.msix_vectors == SHELL.num_vectors(BUILD.num_fifos)
    assert function.msix_table == (SHELL.msix_bar, SHELL.msix_table_offset)
    assert function.msix_pba == (SHELL.msix_bar, SHELL.msix_pba_offset)
    assert await host.config_read(0x09, 3) == SHELL.class_code


@cocotb.test(**LIMIT)
async def unsupported_requests_raise(dut: Any) -> None:
    host, monitor = await thin_host(dut)
    host.bars[7] = 0x1000
    with pytest.raises(CompletionError, match=r"MRD32 .* was completed with UR") as caught:
        await host.bar_read(7, 0, 4)
    assert caught.value.status == CplStatus.UR
    answers = await host.request(Tlp(TlpKind.IORD, length=1, address=0x1000, first_be=0xF), bar=7)
    assert [answer.status for answer in answers] == [CplStatus.UR]
    monitor.finish()


@cocotb.test(**LIMIT)
async def accesses_with_more_requests_than_tags(dut: Any) -> None:
    host, monitor = await thin_host(dut, tags=2, max_read_request_size=128)
    base = LAYOUT.device_queue_base(0)
    data = random.Random(2).randbytes(4000)
    await host.bar_write(SHELL.fifo_bar, base, data)
    readers = [
        cocotb.start_soon(host.bar_read(SHELL.fifo_bar, base + at, 1000))
        for at in range(0, 4000, 1000)
    ]
    assert b"".join([await reader for reader in readers]) == data
    assert await host.bar_read(SHELL.fifo_bar, base, 0) == b""
    monitor.finish()


@cocotb.test(**LIMIT)
async def raw_request_returns_its_completions(dut: Any) -> None:
    host, monitor = await thin_host(dut)
    address = host.bars[SHELL.fifo_bar] + 0x60
    answers = await host.request(memory_read(address, 1024, tc=3), bar=SHELL.fifo_bar)
    assert len(answers) > 1 and sum(answer.length for answer in answers) == 256
    assert {answer.tc for answer in answers} == {3}
    monitor.finish()


@cocotb.test(**LIMIT)
async def reset_during_a_read(dut: Any) -> None:
    host, monitor = await thin_host(dut)
    reading = cocotb.start_soon(host.bar_read(SHELL.fifo_bar, 0, 4096))
    await ClockCycles(dut.clk, 20)
    await reset(dut)
    host.requester.abandon()
    with pytest.raises(TlpTimeout, match=r"MRD32 .* timed out"):
        await reading
    await host.start()
    assert await host.bar_read32(0, 0) == SHELL.version
    monitor.finish()


@cocotb.test(**LIMIT)
async def full_device_queue_blocks_only_its_fifo(dut: Any) -> None:
    host, monitor = await thin_host(dut)
    port = StreamDevicePort(dut)
    fits = QUEUE.capacity - 1
    senders = [cocotb.start_soon(port.send(0, bytes([number]) * 8)) for number in range(fits + 3)]
    await ClockCycles(dut.clk, 3000)
    assert [sender.done() for sender in senders] == [True] * fits + [False] * 3
    await with_timeout(port.send(1, b"otherway"), 1, "us")
    # The driver frees one slot: the next message in order is accepted.
    queue = LAYOUT.device_queue_base(0)
    await host.bar_write(SHELL.fifo_bar, queue + QUEUE.tail_offset, b"\1\0\0\0")
    await with_timeout(senders[fits], 2, "us")
    await ClockCycles(dut.clk, 200)
    assert not senders[fits + 1].done()
    slot = await host.bar_read(SHELL.fifo_bar, queue + QUEUE.slot_offset(fits), 8)
    assert slot == bytes([fits]) * 8
    monitor.finish()


async def random_accesses(dma: AxiDma, memory: Any, base: int | None) -> None:
    """Check that devices and host software read each other's writes."""
    generator = random.Random(5)
    start = memory.allocate(16384, base=base)
    content = bytearray(generator.randbytes(16384))
    await memory.write(start, bytes(content))

    async def work(task: int) -> None:
        for _ in range(5):
            size = generator.choice([1, 3, 4, 64, generator.randrange(1, 1500)])
            offset = 4096 * task + generator.randrange(4096 - size)
            if generator.random() < 0.5:
                data = generator.randbytes(size)
                await dma.write(start + offset, data)
                content[offset : offset + size] = data
            assert await dma.read(start + offset, size) == content[offset : offset + size]

    for task in [cocotb.start_soon(work(task)) for task in range(4)]:
        await task
    assert await memory.read(start, 16384) == content


@cocotb.test(**LIMIT)
@cocotb.parametrize(base=[None, 1 << 36])
async def devices_access_thin_host_memory(dut: Any, base: int | None) -> None:
    dma = AxiDma(dut, pauses=random_pauses(6, 0.1))
    host, monitor = await thin_host(
        dut,
        idle=pacing.randomly(7),
        stall=pacing.randomly(8),
        memory_options={"latency": latencies(9), "split": Split.RANDOM},
    )
    await random_accesses(dma, host.memory, base)
    assert not host.memory.refused_reads and not host.memory.refused_writes
    assert monitor.traffic == host.memory.traffic
    monitor.finish()


@cocotb.test(skip=CORE, **LIMIT)
@cocotb.parametrize(base=[None, 1 << 36])
async def devices_access_root_complex_memory(dut: Any, base: int | None) -> None:
    Clock(dut.clk, PERIOD_NS, "ns", impl="gpi").start()
    dma = AxiDma(dut)
    host = RootComplexHost(dut, num_fifos=BUILD.num_fifos)
    monitor = TlpMonitor.attach(dut)
    await reset(dut)
    await host.start()
    await random_accesses(dma, host.memory, base)
    with pytest.raises(DmaError, match="read of 4 bytes at 0x0: response is"):
        await dma.read(0, 4)
    monitor.finish()


@cocotb.test(**LIMIT)
async def faulty_completions_are_dma_errors(dut: Any) -> None:
    dma = AxiDma(dut)
    host, monitor = await thin_host(dut, memory_options={"split": Split.SMALLEST})
    address = host.memory.allocate(4096)
    for change in (
        faults.refused(),
        faults.refused(CplStatus.CA, at=1),
        faults.refused(CplStatus.CRS),
        faults.poisoned(),
        faults.poisoned(at=1),
    ):
        host.memory.faults.append(Fault(change))
        with pytest.raises(DmaError, match=f"read of 256 bytes at {address:#x}: response is"):
            await dma.read(address, 256)
        assert await dma.read(address, 256) == bytes(256)
    for change in (faults.repeated(), faults.preceded(tag=31), faults.preceded(requester_id=1)):
        host.memory.faults.append(Fault(change))
        assert await dma.read(address, 256) == bytes(256)
    assert not [fault for fault in host.memory.faults if not fault.matches]
    monitor.finish()


@cocotb.test(**LIMIT)
async def completion_after_the_timeout(dut: Any) -> None:
    """The read fails at the timeout; its late completion has no effect and its tag is reused."""
    dma = AxiDma(dut)
    host, monitor = await thin_host(dut)
    address = host.memory.allocate(4096)
    await host.memory.write(address, bytes(range(256)))
    host.memory.faults.append(Fault(faults.unchanged, after_ns=1.5 * TIMEOUT_NS))
    began = get_sim_time("ns")
    with pytest.raises(DmaError, match=f"read of 64 bytes at {address:#x}: response is"):
        await dma.read(address, 64)
    assert TIMEOUT_NS <= get_sim_time("ns") - began <= 1.1 * TIMEOUT_NS
    await Timer(TIMEOUT_NS, "ns")
    assert host.memory.outstanding == 0
    for _ in range(40):
        assert await dma.read(address + 64, 64) == bytes(range(64, 128))
    monitor.finish()
