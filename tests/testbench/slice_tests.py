# SPDX-License-Identifier: BSD-2-Clause
"""Tests of streams, runtime and requester on a register slice; ``test_streams.py`` runs them."""

from __future__ import annotations

import os
import random
from collections.abc import Generator
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, SimTimeoutError, Timer, with_timeout
from cocotb.utils import get_sim_time

from models.bus import Direction
from models.runtime import sleep
from testbench.host.requester import Requester, TlpTimeout, UnexpectedTlp
from testbench.runtime import CocotbRuntime
from testbench.stream import pacing
from testbench.stream.axis import (
    AxisMessage,
    AxisMessageSink,
    AxisMessageSource,
    AxisMessageWatcher,
)
from testbench.stream.framing import StreamError
from testbench.stream.tlp import TlpPacket, TlpSink, TlpSource, TlpWatcher
from testbench.tlp import Tlp
from testbench.tlp.packets import completion, memory_read, memory_write
from testbench.trace import MessageTrace

PERIOD_NS = 4
LIMIT: dict[str, Any] = {"timeout_time": 200, "timeout_unit": "us"}
PACINGS = {
    "never": lambda seed: pacing.never(),
    "now and then": lambda seed: pacing.randomly(seed, 0.2, 12),
    "often": lambda seed: pacing.randomly(seed, 0.8, 2),
    "always": lambda seed: pacing.every([1]),
}


async def start(dut: Any, fault: int = 0) -> None:
    Clock(dut.clk, PERIOD_NS, "ns", impl="gpi").start()
    dut.fault.value = fault
    dut.rst.value = 1
    await ClockCycles(dut.clk, 3)
    dut.rst.value = 0
    await dut.clk.rising_edge


def some_packets(seed: int, count: int) -> list[Tlp]:
    """Random packets with and without payload."""
    generator = random.Random(seed)
    packets = []
    for tag in range(count):
        address = generator.choice([0, 1 << 32]) + 4 * generator.randrange(1024)
        if generator.random() < 0.3:
            packets.append(memory_read(address, generator.randrange(1, 128), tag=tag))
        else:
            data = generator.randbytes(
                generator.choice([1, 4, 16, 64, generator.randrange(1, 256)])
            )
            packets.append(memory_write(address, data, tag=tag))
    return packets


def some_messages(seed: int, count: int) -> list[AxisMessage]:
    generator = random.Random(seed)
    return [
        AxisMessage(generator.randrange(8), generator.randbytes(generator.randint(1, 64)))
        for _ in range(count)
    ]


@cocotb.test(**LIMIT)
@cocotb.parametrize(idle=list(PACINGS), stall=list(PACINGS))
async def tlps_arrive(dut: Any, idle: str, stall: str) -> None:
    """Every packet arrives complete and in order with any pacing."""
    source = TlpSource(dut, "rx_tlp", idle=PACINGS[idle](1))
    sink = TlpSink(dut, "tx_tlp", stall=PACINGS[stall](2))
    watchers = [TlpWatcher(dut, "rx_tlp"), TlpWatcher(dut, "tx_tlp")]
    await start(dut)
    packets = some_packets(3, 25)
    for packet in packets:
        source.send_nowait(TlpPacket(packet))
    for packet in packets:
        assert (await sink.recv()).tlp == packet
    await source.drained()
    assert [watcher.packets for watcher in watchers] == [25, 25]
    assert (source.pending, sink.pending, sink.received) == (0, 0, 25)


@cocotb.test(**LIMIT)
@cocotb.parametrize(idle=list(PACINGS), stall=list(PACINGS))
async def messages_arrive(dut: Any, idle: str, stall: str) -> None:
    source = AxisMessageSource(dut, idle=PACINGS[idle](1))
    sink = AxisMessageSink(dut, stall=PACINGS[stall](2))
    AxisMessageWatcher(dut, "s_axis_msg")
    AxisMessageWatcher(dut, "m_axis_msg")
    await start(dut)
    messages = some_messages(4, 25)
    for message in messages:
        source.send_nowait(message)
    assert [await sink.recv() for _ in messages] == messages


@cocotb.test(**LIMIT)
async def full_throughput(dut: Any) -> None:
    """Without pauses, one beat is accepted on every clock edge."""
    source, sink = TlpSource(dut, "rx_tlp"), TlpSink(dut, "tx_tlp")
    watcher = TlpWatcher(dut, "tx_tlp")
    await start(dut)
    for packet in some_packets(5, 40):
        source.send_nowait(TlpPacket(packet))
    await sink.recv()
    began, beats = get_sim_time("ns"), watcher.beats
    for _ in range(39):
        await sink.recv()
    assert (get_sim_time("ns") - began) / PERIOD_NS == watcher.beats - beats


@cocotb.test(**LIMIT)
async def stall_sets_the_back_pressure(dut: Any) -> None:
    """With three cycles of stall, each beat takes four cycles."""
    source = AxisMessageSource(dut)
    sink = AxisMessageSink(dut, stall=pacing.every([3]))
    watcher = AxisMessageWatcher(dut, "m_axis_msg")
    await start(dut)
    for message in some_messages(6, 8):
        source.send_nowait(message)
    await sink.recv()
    began, beats = get_sim_time("ns"), watcher.beats
    for _ in range(7):
        await sink.recv()
    assert (get_sim_time("ns") - began) / PERIOD_NS == 4 * (watcher.beats - beats)


@cocotb.test(**LIMIT)
async def send_returns_on_acceptance(dut: Any) -> None:
    source, sink = AxisMessageSource(dut), AxisMessageSink(dut)
    accepted: list[AxisMessage] = []
    source.on_accept.append(accepted.append)
    await start(dut)
    sink.pause()
    first, second, third = some_messages(7, 3)
    await source.send(first._replace(data=b"\1"))
    sending = cocotb.start_soon(source.send(second))
    await ClockCycles(dut.clk, 50)
    assert not sending.done() and len(accepted) == 1 and sink.pending == 0
    sink.resume()
    await sending
    assert await sink.recv() == first._replace(data=b"\1")
    assert await sink.recv() == second
    await source.send(third)
    assert await sink.recv() == third


@cocotb.test(**LIMIT)
async def full_sink_stalls_the_design(dut: Any) -> None:
    source, sink = AxisMessageSource(dut), AxisMessageSink(dut, max_queued=2)
    await start(dut)
    messages = some_messages(8, 6)
    for message in messages:
        source.send_nowait(message)
    await ClockCycles(dut.clk, 100)
    assert sink.pending == 2
    got = []
    for _ in messages:
        got.append(await sink.recv())
        await ClockCycles(dut.clk, 12)
        assert sink.pending <= 2
    assert got == messages


@cocotb.test(**LIMIT)
async def reset_drops_packets_in_flight(dut: Any) -> None:
    """After a reset within packets, only packets sent afterwards arrive."""
    source, sink = TlpSource(dut, "rx_tlp"), TlpSink(dut, "tx_tlp")
    TlpWatcher(dut, "rx_tlp")
    TlpWatcher(dut, "tx_tlp")
    await start(dut)
    for cycles in range(1, 12):
        sink.set_stall(pacing.every([2, 0]))
        waiting = cocotb.start_soon(source.send(TlpPacket(memory_write(0, bytes(256)))))
        source.send_nowait(TlpPacket(memory_write(0, bytes(64))))
        await ClockCycles(dut.clk, cycles)
        dut.rst.value = 1
        await ClockCycles(dut.clk, 3)
        dut.rst.value = 0
        await waiting
        assert source.pending == 0
        while sink.pending:
            # Packets received before the reset stay in the queue.
            assert sink.recv_nowait().tlp.payload in (bytes(64), bytes(256))
        packet = memory_write(0x40, bytes([cycles]) * 40, tag=cycles)
        await source.send(TlpPacket(packet))
        assert (await sink.recv()).tlp == packet
        assert sink.pending == 0


@cocotb.test(**LIMIT)
async def packet_queued_during_reset_is_sent_after_it(dut: Any) -> None:
    source, sink = TlpSource(dut, "rx_tlp"), TlpSink(dut, "tx_tlp")
    packet = memory_write(0x40, bytes(64))
    await start(dut)
    dut.rst.value = 1
    await ClockCycles(dut.clk, 2)
    source.send_nowait(TlpPacket(packet))
    await ClockCycles(dut.clk, 5)
    assert source.pending == 1
    dut.rst.value = 0
    assert (await sink.recv()).tlp == packet


class CountingEdge:
    """Replaces a clock's trigger and counts waits for it."""

    def __init__(self, clk: Any) -> None:
        self.rising_edge = self
        self.count = 0
        self._edge = clk.rising_edge

    def __await__(self) -> Generator[Any, Any, Any]:
        self.count += 1
        return (yield from self._edge.__await__())


@cocotb.test(**LIMIT)
async def idle_streams_wait_for_no_clock_edges(dut: Any) -> None:
    clk = CountingEdge(dut.clk)
    source, sink = TlpSource(dut, "rx_tlp", clk=clk), TlpSink(dut, "tx_tlp", clk=clk)
    TlpWatcher(dut, "rx_tlp", clk=clk)
    TlpWatcher(dut, "tx_tlp", clk=clk)
    blocked = AxisMessageSink(dut, clk=clk)
    messages = AxisMessageSource(dut, clk=clk)
    await start(dut)
    await ClockCycles(dut.clk, 10)
    before = clk.count
    await ClockCycles(dut.clk, 1000)
    assert clk.count == before
    await source.send(TlpPacket(memory_read(0, 4)))
    await sink.recv()
    await ClockCycles(dut.clk, 10)
    assert before < clk.count < before + 20
    # A stall does not wake source or sink either.
    blocked.pause()
    for message in some_messages(9, 3):
        messages.send_nowait(message)
    await ClockCycles(dut.clk, 10)
    before = clk.count
    await ClockCycles(dut.clk, 1000)
    assert clk.count == before


async def stalled_tlp(dut: Any, fault: int) -> None:
    TlpWatcher(dut, "tx_tlp")
    source, sink = TlpSource(dut, "rx_tlp"), TlpSink(dut, "tx_tlp", stall=pacing.every([0, 3]))
    await start(dut, fault)
    for packet in some_packets(10, 4):
        source.send_nowait(TlpPacket(packet))
    for _ in range(4):
        await sink.recv()


async def stalled_message(dut: Any, fault: int) -> None:
    AxisMessageWatcher(dut, "m_axis_msg")
    source, sink = AxisMessageSource(dut), AxisMessageSink(dut, stall=pacing.every([0, 3]))
    await start(dut, fault)
    for message in some_messages(11, 4):
        source.send_nowait(message)
    for _ in range(4):
        await sink.recv()


@cocotb.test(expect_error=StreamError, **LIMIT)
async def deasserted_valid_fails(dut: Any) -> None:
    await stalled_tlp(dut, 1)


@cocotb.test(expect_error=StreamError, **LIMIT)
async def changed_payload_fails(dut: Any) -> None:
    await stalled_tlp(dut, 2)


@cocotb.test(expect_error=StreamError, **LIMIT)
async def deasserted_tvalid_fails(dut: Any) -> None:
    await stalled_message(dut, 3)


@cocotb.test(expect_error=StreamError, **LIMIT)
async def changed_tdest_fails(dut: Any) -> None:
    await stalled_message(dut, 4)


@cocotb.test(expect_error=StreamError, skip=os.environ.get("SIM") != "icarus", **LIMIT)
async def undefined_payload_fails(dut: Any) -> None:
    await stalled_tlp(dut, 5)


@cocotb.test(skip=os.environ.get("SIM") != "icarus", **LIMIT)
async def undefined_disabled_lanes_pass(dut: Any) -> None:
    source, sink = TlpSource(dut, "rx_tlp"), TlpSink(dut, "tx_tlp")
    TlpWatcher(dut, "tx_tlp")
    await start(dut, 5)
    await source.send(TlpPacket(memory_read(0, 4)))
    assert (await sink.recv()).tlp == memory_read(0, 4)


@cocotb.test(**LIMIT)
async def trace_records_time_direction_and_fifo(dut: Any) -> None:
    source, sink = AxisMessageSource(dut), AxisMessageSink(dut)
    trace = MessageTrace(decode=lambda raw, revision: raw, describe=bytes.hex)
    trace.attach(dut)
    await start(dut)
    await source.send_message(3, b"\x01\x02")
    sent = get_sim_time("ns")
    await sink.recv()
    assert [(entry.direction, entry.fifo, entry.raw) for entry in trace.entries] == [
        (Direction.TO_DRIVER, 3, b"\x01\x02"),
        (Direction.TO_DEVICE, 3, b"\x01\x02"),
    ]
    assert [entry.time_ns for entry in trace.entries] == [sent, sent + PERIOD_NS]
    assert trace.count(Direction.TO_DEVICE) == 1


@cocotb.test(**LIMIT)
async def runtime_waits_and_times_out(dut: Any) -> None:
    runtime = CocotbRuntime()
    event = runtime.event()
    began = get_sim_time("us")
    assert not await runtime.wait(event, 1.5)
    assert abs(get_sim_time("us") - began - 1.5) < 1e-3

    async def later() -> None:
        await Timer(1, "us")
        event.set()

    runtime.spawn(later())
    assert await runtime.wait(event, 1.5)
    assert await runtime.wait(event)
    assert await runtime.wait(event, 0)
    event.clear()
    assert not await runtime.wait(event, 0)

    async def wait_and_clear() -> bool:
        came = await runtime.wait(event, 1.5)
        event.clear()
        return came

    waiting = [runtime.spawn(wait_and_clear()) for _ in range(2)]
    runtime.spawn(later())
    assert [await task for task in waiting] == [True, True]

    async def forever() -> None:
        await runtime.event().wait()

    task = runtime.spawn(forever())
    await sleep(runtime, 0.1)
    task.cancel()
    await sleep(runtime, 0.1)
    assert task.cancelled()


@cocotb.test(**LIMIT)
async def requester_times_out(dut: Any) -> None:
    requester = Requester(tags=1, timeout_us=2)
    began = get_sim_time("ns")
    pending = await requester.open(memory_read(0, 4))
    try:
        await pending.answers()
        raise AssertionError("no timeout")
    except TlpTimeout as error:
        assert "with 0 completions received" in str(error)
    assert 2000 <= get_sim_time("ns") - began <= 3000
    # The tag is not reused until the late completion arrives.
    waiting = cocotb.start_soon(requester.open(memory_read(4, 4)))
    await Timer(5, "us")
    assert not waiting.done()
    requester.receive(completion(pending.request, 0, bytes(4)))
    second = await with_timeout(waiting, 1, "us")
    requester.receive(completion(second.request, 0, b"\1\2\3\4"))
    assert (await second.answers())[0].payload == b"\1\2\3\4"
    assert requester.outstanding == 0
    try:
        requester.receive(completion(second.request, 0, bytes(4)))
        raise AssertionError("second completion accepted")
    except UnexpectedTlp as error:
        assert "no outstanding request for CPLD" in str(error)


@cocotb.test(**LIMIT)
async def requester_waits_for_a_tag(dut: Any) -> None:
    requester = Requester(tags=2, timeout_us=50)
    first = await requester.open(memory_read(0, 256))
    await requester.open(memory_read(0, 4))
    waiting = cocotb.start_soon(requester.open(memory_read(0, 4)))
    requester.receive(completion(first.request, 0, bytes(128)))
    try:
        await with_timeout(waiting, 1, "us")
        raise AssertionError("the tag was free after the first of two completions")
    except SimTimeoutError:
        pass
    waiting = cocotb.start_soon(requester.open(memory_read(0, 4)))
    requester.receive(completion(first.request, 0, bytes(128), byte_count=128))
    third = await with_timeout(waiting, 1, "us")
    assert third.request.tag == first.request.tag
    assert len(await first.answers()) == 2
    requester.abandon()
    assert requester.outstanding == 0
