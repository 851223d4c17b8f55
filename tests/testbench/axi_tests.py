# SPDX-License-Identifier: BSD-2-Clause
"""Tests of the devices' DMA on an AXI window with cocotbext-axi's memory behind it.

``test_axi.py`` runs them on a slice of wires.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Generator
from typing import Any

import cocotb
import pytest
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, Timer, with_timeout
from cocotb.utils import get_sim_time
from cocotbext.axi import AxiBurstType, AxiBus, AxiRam, AxiResp

from models.dma import DmaError
from testbench.axi.channels import INPUTS, AxiChannels
from testbench.axi.dma import AxiDma, DmaStatistics, random_pauses
from testbench.stream import pacing

LIMIT: dict[str, Any] = {"timeout_time": 500, "timeout_unit": "us"}
HIGH = 0x12_3456_7000


async def reset(dut: Any) -> None:
    dut.rst.value = 1
    await ClockCycles(dut.clk, 3)
    dut.rst.value = 0
    await dut.clk.rising_edge


async def start(dut: Any) -> AxiRam:
    """Start clock and reset; return the memory behind the window."""
    Clock(dut.clk, 4, "ns", impl="gpi").start()
    for name in ("hold", "bresp", "rresp"):
        getattr(dut, name).value = 0
    await reset(dut)
    # The library's default size does not fit Python's len().
    return AxiRam(AxiBus.from_prefix(dut, "m_axi"), dut.clk, dut.rst, size=1 << 62)


@cocotb.test(**LIMIT)
@cocotb.parametrize(
    options=[{}, {"burst_beats": 1}, {"burst_beats": 3}, {"beat_bytes": 1}, {"beat_bytes": 4}],
    pauses=[False, True],
)
async def accesses_transfer_data(dut: Any, options: dict[str, int], pauses: bool) -> None:
    """Accesses of any address and size from several tasks transfer the right data."""
    dma = AxiDma(dut, pauses=random_pauses(5) if pauses else None, **options)
    ram = await start(dut)
    content = bytearray(random.Random(1).randbytes(4 * 2048))
    ram.write(HIGH, content)

    async def work(task: int) -> None:
        generator = random.Random(task)
        for _ in range(6):
            size = generator.choice([1, 2, 15, 64, generator.randrange(1, 700)])
            offset = 2048 * task + generator.randrange(2048 - size)
            if generator.random() < 0.5:
                data = generator.randbytes(size)
                await dma.write(HIGH + offset, data)
                content[offset : offset + size] = data
            else:
                got = await dma.read(HIGH + offset, size)
                assert got == content[offset : offset + size]

    tasks = [cocotb.start_soon(work(task)) for task in range(4)]
    for task in tasks:
        await task
    assert ram.read(HIGH, len(content)) == content
    assert dma.statistics.reads + dma.statistics.writes == 24


@cocotb.test(**LIMIT)
async def statistics_count(dut: Any) -> None:
    dma = AxiDma(dut, burst_beats=4)
    await start(dut)
    assert dma.statistics == DmaStatistics()
    lanes = len(dut.s_axi_dma_wdata) // 8
    began = get_sim_time("ns")
    await dma.write(HIGH, bytes(10 * lanes))
    written = get_sim_time("ns")
    await dma.read(HIGH, 4 * lanes)
    await dma.read(HIGH + 4095, 2)
    done = get_sim_time("ns")
    assert dma.statistics == DmaStatistics(
        reads=2,
        writes=1,
        bytes_read=4 * lanes + 2,
        bytes_written=10 * lanes,
        read_bursts=3,
        write_bursts=3,
        read_ns=done - written,
        write_ns=written - began,
    )
    assert written > began and done > written


@cocotb.test(**LIMIT)
async def narrow_beats(dut: Any) -> None:
    dma = AxiDma(dut, beat_bytes=2)
    await start(dut)
    await dma.write(HIGH, bytes(1026))
    await dma.read(HIGH, 513)
    assert (dma.statistics.write_bursts, dma.statistics.read_bursts) == (3, 2)


@cocotb.test(**LIMIT)
async def any_response_except_okay_raises(dut: Any) -> None:
    dma = AxiDma(dut)
    await start(dut)
    for code, name in ((1, "EXOKAY"), (2, "SLVERR"), (3, "DECERR")):
        dut.bresp.value = dut.rresp.value = code
        with pytest.raises(
            DmaError, match=rf"read of 5 bytes at 0x123456700[0]: response is {name}"
        ):
            await dma.read(HIGH, 5)
        with pytest.raises(DmaError, match=f"write of 300 bytes at 0x1234567001: .*{name}"):
            await dma.write(HIGH + 1, bytes(300))
    dut.bresp.value = dut.rresp.value = 0
    assert await dma.read(HIGH, 5) == bytes(5)
    statistics = dma.statistics
    assert (statistics.reads, statistics.bytes_read, statistics.writes) == (1, 5, 0)
    assert statistics.read_bursts == 4


@cocotb.test(**LIMIT)
async def invalid_addresses_and_sizes_raise(dut: Any) -> None:
    dma = AxiDma(dut)
    await start(dut)
    end = 1 << 64
    for address, size in ((end - 4, 5), (end, 1), (-1, 1)):
        with pytest.raises(DmaError, match=f"read of {size} bytes at {address:#x}: beyond 64"):
            await dma.read(address, size)
        with pytest.raises(DmaError, match=f"write of {size} bytes at {address:#x}: beyond 64"):
            await dma.write(address, bytes(size))
    assert await dma.read(end - 4, 4) == bytes(4)
    with pytest.raises(ValueError, match="size is 0: must be 1 or more"):
        await dma.read(HIGH, 0)
    with pytest.raises(ValueError, match="size is 0: must be 1 or more"):
        await dma.write(HIGH, b"")


@cocotb.test(**LIMIT)
async def invalid_options_raise(dut: Any) -> None:
    lanes = len(dut.s_axi_dma_wdata) // 8
    for options, text in (
        ({"burst_beats": 0}, "burst_beats is 0: must be 1 to 256"),
        ({"burst_beats": 257}, "burst_beats is 257: must be 1 to 256"),
        ({"beat_bytes": 3}, f"beat_bytes is 3: must be a power of two up to {lanes}"),
        ({"beat_bytes": 2 * lanes}, f"beat_bytes is {2 * lanes}: must be a power"),
        ({"pauses": {"q": []}}, "channel is q: must be one of aw, w, b, ar, r"),
    ):
        with pytest.raises(ValueError, match=text):
            AxiDma(dut, **options)


@cocotb.test(**LIMIT)
async def cancelled_access_does_not_disturb_others(dut: Any) -> None:
    dma = AxiDma(dut, pauses=random_pauses(1))
    ram = await start(dut)
    ram.write(HIGH, bytes(range(256)))
    dut.hold.value = 1
    tasks = [
        cocotb.start_soon(dma.read(HIGH, 200)),
        cocotb.start_soon(dma.write(HIGH + 0x1000, b"\7" * 100)),
        cocotb.start_soon(dma.read(HIGH + 5, 100)),
    ]
    await ClockCycles(dut.clk, 20)
    tasks[0].cancel()
    tasks[1].cancel()
    dut.hold.value = 0
    assert await tasks[2] == bytes(range(5, 105))
    await dma.write(HIGH + 0x2000, b"\1")
    assert ram.read(HIGH + 0x1000, 100) == b"\7" * 100
    assert await dma.read(HIGH + 1, 3) == b"\1\2\3"
    assert (dma.statistics.reads, dma.statistics.writes) == (2, 1)


@cocotb.test(**LIMIT)
async def reset_fails_accesses_in_flight(dut: Any) -> None:
    dma = AxiDma(dut)
    ram = await start(dut)
    ram.write(HIGH, bytes(range(100)))
    await dma.read(HIGH, 1)
    dut.hold.value = 1

    async def error_of(access: Awaitable[Any]) -> str:
        with pytest.raises(DmaError) as caught:
            await access
        return str(caught.value)

    read = cocotb.start_soon(error_of(dma.read(HIGH, 100)))
    write = cocotb.start_soon(error_of(dma.write(HIGH, b"x")))
    await ClockCycles(dut.clk, 10)
    dut.rst.value = 1
    assert await read == "read of 100 bytes at 0x1234567000: aborted by reset"
    assert await write == "write of 1 bytes at 0x1234567000: aborted by reset"
    # An access during reset waits for the end of reset.
    waiting = cocotb.start_soon(dma.read(HIGH + 1, 4))
    await ClockCycles(dut.clk, 10)
    dut.hold.value = 0
    assert not waiting.done()
    dut.rst.value = 0
    assert await with_timeout(waiting, 1, "us") == b"\1\2\3\4"


@cocotb.test(**LIMIT)
async def first_access_waits_for_the_end_of_reset(dut: Any) -> None:
    dma = AxiDma(dut)
    await start(dut)
    dut.rst.value = 1
    await ClockCycles(dut.clk, 2)
    waiting = cocotb.start_soon(dma.write(HIGH, b"first"))
    for _ in range(10):
        await ClockCycles(dut.clk, 1)
        assert dut.s_axi_dma_awvalid.value == 0
    dut.rst.value = 0
    await with_timeout(waiting, 1, "us")


@cocotb.test(**LIMIT)
async def inputs_are_low_before_the_first_access(dut: Any) -> None:
    for name in INPUTS:
        getattr(dut, f"s_axi_dma_{name}").value = 1
    await Timer(1, "ns")
    AxiDma(dut)
    await start(dut)
    assert all(int(getattr(dut, f"s_axi_dma_{name}").value) == 0 for name in INPUTS)


class CountingClock:
    """Replaces the clock and counts waits for its edges."""

    def __init__(self, clk: Any) -> None:
        self.clk = clk
        self.count = 0

    @property
    def rising_edge(self) -> Any:
        return self

    def __await__(self) -> Generator[Any, Any, Any]:
        self.count += 1
        return (yield from self.clk.rising_edge.__await__())


@cocotb.test(**LIMIT)
async def idle_dma_waits_for_no_clock_edges(dut: Any) -> None:
    """The library waits for ``RisingEdge(clock)``, which this test replaces by a counting one."""
    from cocotbext.axi import stream

    counter = CountingClock(dut.clk)
    original = stream.RisingEdge
    stream.RisingEdge = lambda signal: (
        counter.rising_edge if signal is dut.clk else original(signal)
    )
    try:
        dma = AxiDma(dut, pauses={"r": pacing.every([1]), "ar": pacing.every([2])})
        ram = await start(dut)
        ram.write(HIGH, bytes(range(64)))
        assert await dma.read(HIGH, 64) == bytes(range(64))
        await ClockCycles(dut.clk, 20)
        before = counter.count
        assert before > 10
        await ClockCycles(dut.clk, 500)
        assert counter.count == before
        await dma.write(HIGH, b"again")
        assert ram.read(HIGH, 5) == b"again" and counter.count > before
    finally:
        stream.RisingEdge = original


@cocotb.test(**LIMIT)
async def pauses_reduce_throughput(dut: Any) -> None:
    """With nine cycles of pause after each cycle without one, a beat takes ten cycles."""
    dma = AxiDma(dut, pauses={"r": pacing.every([9])})
    await start(dut)
    began = get_sim_time("ns")
    await dma.read(HIGH, 512)
    beats = 512 // (len(dut.s_axi_dma_wdata) // 8)
    assert get_sim_time("ns") - began >= 4 * 10 * (beats - 1)


@cocotb.test(**LIMIT)
async def channels_send_transfers_as_given(dut: Any) -> None:
    ram = await start(dut)
    channels = AxiChannels(dut)
    lanes = channels.lanes
    ones = int.from_bytes(b"\xaa" * lanes, "little")
    # Strobes with a hole, a beat without strobes.
    answer = await channels.write(HIGH, [(ones, 0b101), (ones, 0), (ones, 1)], transfer_id=9)
    assert answer.responses == [AxiResp.OKAY]
    assert ram.read(HIGH, 3) == b"\xaa\0\xaa"
    assert ram.read(HIGH + lanes, 1) == b"\0" and ram.read(HIGH + 2 * lanes, 1) == b"\xaa"
    # FIXED: both beats at the same address. WRAP: the second beat wraps to the start of the block.
    await channels.write(HIGH + 256, [(1, 1), (2, 1)], burst=AxiBurstType.FIXED)
    assert ram.read(HIGH + 256, 1) == b"\2"
    assert ram.read(HIGH + 256 + lanes, 1) == b"\0"
    await channels.write(HIGH + 512 + lanes, [(3, 1), (4, 1)], burst=AxiBurstType.WRAP)
    assert ram.read(HIGH + 512 + lanes, 1) == b"\3" and ram.read(HIGH + 512, 1) == b"\4"
    # Narrow: two beats of two bytes in one word.
    await channels.write(HIGH + 768, [(0x0201, 0b11), (0x0403_0000, 0b1100)], size=1)
    assert ram.read(HIGH + 768, 4) == b"\1\2\3\4"
    ram.write(HIGH, bytes(range(2 * lanes)))
    answer = await channels.read(HIGH, 2, transfer_id=255)
    assert answer.responses == [AxiResp.OKAY] * 2
    assert b"".join(beat.to_bytes(lanes, "little") for beat in answer.beats) == bytes(
        range(2 * lanes)
    )
    dut.rresp.value = dut.bresp.value = 2
    answer = await channels.read(HIGH, 3, burst=AxiBurstType.FIXED)
    assert answer.responses == [AxiResp.SLVERR] * 3
    assert len(set(answer.beats)) == 1
    assert len(set((await channels.read(HIGH, 2, size=0)).beats)) == 1
    assert (await channels.write(HIGH, [(0, 0)])).responses == [AxiResp.SLVERR]


@cocotb.test(expect_error=AssertionError, **LIMIT)
async def burst_across_4_kib_is_sent(dut: Any) -> None:
    """The burst arrives: the memory model rejects it with an assertion."""
    await start(dut)
    channels = AxiChannels(dut)
    await channels.read(HIGH + 4096 - channels.lanes, 2)
