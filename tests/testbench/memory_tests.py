# SPDX-License-Identifier: BSD-2-Clause
"""Tests of the thin hosts' memory on slices; ``test_host_slices.py`` runs them.

A slice sends the host's requests back to the host as the design's, and their completions to the
requester: ``bar_read`` and ``bar_write`` access the host's own memory.
"""

from __future__ import annotations

import random
from itertools import repeat
from typing import Any

import cocotb
import pytest
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles
from cocotb.utils import get_sim_time

from models.layout import SPSC_PAGES
from models.shell import AMP_PCI
from testbench.host.bfm import CoreBfm, EndpointBfm
from testbench.host.faults import Fault, no_completions, poisoned, refused, repeated, unchanged
from testbench.host.memory_completer import latencies
from testbench.host.read_completions import Split
from testbench.host.requester import CompletionError, TlpTimeout, UnexpectedTlp
from testbench.stream import pacing
from testbench.stream.tlp import TlpWatcher
from testbench.tlp import CompletionErrorCode, CplStatus, Tlp, TlpKind
from testbench.tlp.monitor import TlpMonitor
from testbench.tlp.packets import memory_read
from testbench.tlp.traffic import Traffic

LIMIT: dict[str, Any] = {"timeout_time": 500, "timeout_unit": "us"}
LOW, HIGH = 0x1000_0000, 0x12_0000_0000


async def start(dut: Any, **options: Any) -> Any:
    """Start a thin host on the slice under test, with 16 KiB of its memory as BAR 0."""
    Clock(dut.clk, 4, "ns", impl="gpi").start()
    host: Any
    if hasattr(dut, "rx_req_tlp_valid"):
        host = CoreBfm(dut, shell=AMP_PCI, layout=SPSC_PAGES, timeout_us=20, **options)
    else:
        dut.fault.value = 0
        host = EndpointBfm(dut, timeout_us=20, **options)
    dut.rst.value = 1
    await ClockCycles(dut.clk, 3)
    dut.rst.value = 0
    await dut.clk.rising_edge
    host.bars = {0: host.memory.allocate(16384)}
    return host


@cocotb.test(**LIMIT)
@cocotb.parametrize(base=[LOW, HIGH], slow=[False, True])
async def accesses_transfer_data(dut: Any, base: int, slow: bool) -> None:
    """Host software and a bus master read each other's writes."""
    host = await start(
        dut,
        idle=pacing.randomly(1),
        stall=pacing.randomly(2),
        memory_options={
            "base": base,
            "latency": latencies(3) if slow else None,
            "split": Split.RANDOM,
        },
    )
    assert host.bars[0] >= base
    generator = random.Random(4)
    content = bytearray(generator.randbytes(16384))
    await host.memory.write(host.bars[0], bytes(content))
    moved = Traffic()
    for _ in range(12):
        offset, size = generator.randrange(12000), generator.randrange(1, 3000)
        data = generator.randbytes(size)
        await host.bar_write(0, offset, data)
        content[offset : offset + size] = data
        offset = generator.randrange(12000)
        assert await host.bar_read(0, offset, size) == content[offset : offset + size]
        moved.read_bytes += size
        moved.write_bytes += size
    assert await host.memory.read(host.bars[0], 16384) == content
    assert host.memory.traffic.read_bytes == moved.read_bytes
    assert host.memory.traffic.write_bytes == moved.write_bytes
    assert host.memory.outstanding == 0


@cocotb.test(**LIMIT)
async def concurrent_reads_have_their_latency(dut: Any) -> None:
    """Eight concurrent reads take 1 µs each; a later read with a short latency overtakes them."""
    host = await start(dut, memory_options={"latency": iter([1000.0] * 8 + [100.0])})
    began = get_sim_time("ns")
    slow = [cocotb.start_soon(host.bar_read(0, 64 * number, 64)) for number in range(8)]
    await ClockCycles(dut.clk, 50)
    await host.bar_read(0, 0, 4)
    assert 300 <= get_sim_time("ns") - began <= 400
    assert not any(read.done() for read in slow)
    for read in slow:
        await read
    assert 1000 <= get_sim_time("ns") - began <= 1400


@cocotb.test(**LIMIT)
async def refusals_and_faults(dut: Any) -> None:
    host = await start(dut)
    memory = host.memory
    host.bars[1] = 0x2000
    with pytest.raises(CompletionError, match="completed with UR"):
        await host.bar_read(1, 0, 4)
    await host.bar_write(1, 0, b"lost")
    await host.bar_read(0, 0, 4)
    assert [tlp.address for tlp in memory.refused_writes + memory.refused_reads] == [0x2000] * 2
    memory.faults += [Fault(refused(CplStatus.CA)), Fault(poisoned()), Fault(no_completions())]
    with pytest.raises(CompletionError, match="completed with CA"):
        await host.bar_read(0, 0, 4)
    (answer,) = await host.request(memory_read(host.bars[0], 4))
    assert answer.ep == 1
    with pytest.raises(TlpTimeout):
        await host.bar_read(0, 0, 4)
    assert await host.bar_read(0, 0, 4) == bytes(4)
    memory.faults.append(Fault(unchanged, after_ns=5000.0))
    began = get_sim_time("ns")
    await host.bar_read(0, 0, 4)
    assert get_sim_time("ns") - began >= 5000


@cocotb.test(expect_error=UnexpectedTlp, **LIMIT)
async def repeated_completion_is_unexpected(dut: Any) -> None:
    host = await start(dut)
    host.memory.faults.append(Fault(repeated()))
    await host.bar_read(0, 0, 4)
    await ClockCycles(dut.clk, 20)


@cocotb.test(**LIMIT)
async def abandoned_reads_are_not_completed(dut: Any) -> None:
    host = await start(dut, memory_options={"latency": iter([500.0])})
    reading = cocotb.start_soon(host.bar_read(0, 0, 4))
    await ClockCycles(dut.clk, 20)
    host.memory.abandon()
    with pytest.raises(TlpTimeout):
        await reading
    assert await host.bar_read(0, 0, 4) == bytes(4)


@cocotb.test(**LIMIT)
async def on_request_replaces_memory(dut: Any) -> None:
    host = await start(dut)
    taken: list[Tlp] = []
    host.on_request = taken.append
    await host.bar_write(0, 0, bytes(8))
    await ClockCycles(dut.clk, 20)
    assert [tlp.kind for tlp in taken] == [TlpKind.MWR32]
    assert host.memory.traffic == Traffic()


@cocotb.test(**LIMIT)
async def unsupported_request_raises(dut: Any) -> None:
    host = await start(dut)
    with pytest.raises(UnexpectedTlp, match="not a memory request: IOWR"):
        host.receive(Tlp(TlpKind.IOWR, length=1, address=0x1000, first_be=0xF, payload=bytes(4)))


CORE = cocotb.top is not None and hasattr(cocotb.top, "rx_req_tlp_valid")


@cocotb.test(skip=not CORE, **LIMIT)
async def core_has_its_own_bundles_and_pacing(dut: Any) -> None:
    watchers = {
        name: TlpWatcher(dut, name) for name in ("tx_rd_req_tlp", "tx_wr_req_tlp", "rx_cpl_tlp")
    }
    host = await start(
        dut,
        completion_idle=pacing.every([7]),
        read_stall=pacing.every([50]),
        write_stall=pacing.every([20]),
        extended_tags=True,
        memory_options={"read_completion_boundary": 128},
    )
    assert (int(dut.ext_tag_enable.value), int(dut.rcb_128b.value)) == (1, 1)
    began = get_sim_time("ns")
    await host.bar_write(0, 0, bytes(4))
    await ClockCycles(dut.clk, 1)
    assert get_sim_time("ns") - began >= 20 * 4
    began = get_sim_time("ns")
    await host.bar_read(0, 0, 4)
    assert get_sim_time("ns") - began >= 57 * 4
    assert {name: watcher.packets for name, watcher in watchers.items()} == {
        "tx_rd_req_tlp": 1,
        "tx_wr_req_tlp": 1,
        "rx_cpl_tlp": 1,
    }


@cocotb.test(skip=not CORE, **LIMIT)
async def completion_error_codes(dut: Any) -> None:
    codes: list[int] = []
    TlpWatcher(dut, "rx_cpl_tlp", on_packet=lambda packet: codes.append(packet.error))
    host = await start(dut)
    host.memory.faults += [Fault(refused()), Fault(poisoned())]
    for _ in range(3):
        await host.request(memory_read(host.bars[0], 4))
    host.completion_error = lambda tlp: CompletionErrorCode.TIMEOUT
    await host.request(memory_read(host.bars[0], 4))
    assert codes == [2, 1, 0, 15]


@cocotb.test(skip=not CORE, **LIMIT)
async def monitor_follows_tag_reuse(dut: Any) -> None:
    """The slice's requests carry the host's id, so the monitor has this id as ``device_id``."""
    monitor = TlpMonitor.attach(
        dut,
        to_design=["rx_cpl_tlp"],
        from_design=["tx_rd_req_tlp", "tx_wr_req_tlp"],
        device_id=0x0019,
        bus_master=True,
        max_payload_size=256,
        completion_timeout_ns=2000.0,
    )
    # With a single tag, each request reuses it: legal once the monitor has seen the completions.
    host = await start(dut, tags=1, memory_options={"latency": repeat(20.0), "split": Split.RANDOM})
    read = memory_read(host.bars[0], 512, requester_id=0x0019, tag=0)
    for _ in range(5):
        await host.bar_write(0, 3, bytes(700))
        await host.bar_read(0, 5, 1300)
    assert monitor.traffic == host.memory.traffic
    # A completion with an error code of the hard block ends an incomplete read.
    host.completion_error = lambda tlp: CompletionErrorCode.MISMATCH
    host.memory.faults.append(Fault(no_completions(after=1)))
    host.memory.faults.append(Fault(no_completions(), times=None))
    monitor.fatal = False
    await host.requester.open(read)
    host.send_nowait(read)
    await ClockCycles(dut.clk, 100)
    host.send_nowait(read)
    await ClockCycles(dut.clk, 20)
    assert not monitor.violations
    host.send_nowait(read)
    await ClockCycles(dut.clk, 20)
    assert [item.rule for item in monitor.violations] == ["tag"]
    await ClockCycles(dut.clk, 500)
    host.send_nowait(read)
    await ClockCycles(dut.clk, 20)
    assert len(monitor.violations) == 1
