# SPDX-License-Identifier: BSD-2-Clause
"""Messages and queue traces recorded with the C implementation, replayed on the gateware."""

import hashlib
import json
from pathlib import Path

import cocotb

from models.shell import AMP_PCI
from models.spsc import AsyncSpscQueue
from tests.regressions.queue_host import QUEUE, QueueBench

DATA = Path(__file__).resolve().parent.parent / "data"
MESSAGE_SIZE = 48
"""Bytes that the C implementation copies for each message."""


def traces():
    """Recorded traces of queues with the gateware's capacity."""
    recordings = json.loads((DATA / "spsc_traces.json").read_text())
    return [trace for trace in recordings if trace["capacity"] == QUEUE.capacity]


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def recorded_messages_round_trip(dut):
    """Every recorded message crosses to the device side and back unchanged."""
    bench = QueueBench(dut)
    await bench.start()
    queue_in = AsyncSpscQueue(bench.memory, bench.driver(0, 0), whole_slots=True)
    queue_out = AsyncSpscQueue(bench.memory, bench.device(0, 0))
    await queue_in.open()
    await queue_out.open()
    interrupt = bench.host.interrupt(0)
    for vector in json.loads((DATA / "messages_v1.json").read_text()):
        wire = bytes.fromhex(vector["wire"])
        assert await queue_in.send(wire)
        await bench.ring(0)
        message = await bench.sink.recv()
        assert message.data == wire.ljust(QUEUE.slot_size, b"\0"), vector
        await bench.source.send_message(message.fifo, message.data[: vector["msg_size"]])
        await interrupt.wait()
        interrupt.clear()
        assert await queue_out.recv(MESSAGE_SIZE) == wire, vector
    await bench.finish()


async def prepare(bench, base, trace):
    """Set the queue at ``base`` to the trace's first indices, with all slots zero."""
    for offset in range(0, QUEUE.size, 128):
        await bench.store_bytes(base + offset, bytes(128))
    await bench.store(base + QUEUE.head_offset, trace["head0"])
    await bench.store(base + QUEUE.tail_offset, trace["tail0"])


async def check_end(bench, base, trace):
    """Check head, tail and every byte of the queue against the end of the recording."""
    assert await bench.load(base + QUEUE.head_offset) == trace["head"]
    assert await bench.load(base + QUEUE.tail_offset) == trace["tail"]
    page = await bench.host.bar_read(AMP_PCI.fifo_bar, base, QUEUE.size)
    assert hashlib.sha256(page).hexdigest() == trace["memory_sha256"]


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def traces_through_the_push_engine(dut):
    """The gateware sends the recorded messages, the reference queue receives them."""
    bench = QueueBench(dut)
    await bench.start()
    base = bench.device(0, 0)
    for trace in traces():
        await prepare(bench, base, trace)
        queue = AsyncSpscQueue(bench.memory, base)
        await queue.open()
        for name, *arguments in trace["ops"]:
            if name == "recv":
                (expected,) = arguments
                received = await queue.recv(MESSAGE_SIZE)
                assert (received.hex() if received else None) == expected
                continue
            message, sent = arguments
            await bench.settle(8)
            assert bool(int(dut.device_queue_ready.value) & 1) == sent
            if sent:
                await bench.source.send_message(0, bytes.fromhex(message))
                await bench.settle(10)
        await check_end(bench, base, trace)
    await bench.finish()


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def traces_through_the_pop_engine(dut):
    """The reference queue sends, the gateware receives one message per doorbell."""
    bench = QueueBench(dut)
    await bench.start()
    base = bench.driver(0, 0)
    for trace in traces():
        await prepare(bench, base, trace)
        queue = AsyncSpscQueue(bench.memory, base)
        await queue.open()
        for name, *arguments in trace["ops"]:
            if name == "send":
                message, sent = arguments
                assert await queue.send(bytes.fromhex(message)) == sent
                continue
            (expected,) = arguments
            head, tail = await bench.driver_head(0), await bench.driver_tail(0)
            assert (head == tail) == (expected is None)
            if expected is None:
                continue
            # The doorbell samples a head that releases exactly one message.
            await bench.set_driver_head(0, QUEUE.next(tail))
            await bench.ring(0)
            await bench.set_driver_head(0, head)
            message = await bench.sink.recv()
            assert message.data[:MESSAGE_SIZE].hex() == expected
            await bench.settle(5)
        await check_end(bench, base, trace)
    await bench.finish()
