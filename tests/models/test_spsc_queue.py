# SPDX-License-Identifier: BSD-2-Clause
"""SPSC queue: golden traces byte for byte, and limits."""

import asyncio
import hashlib
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_support import FIXED, TRACES

from models.layout import LayoutError, QueueLayout
from models.spsc import AsyncSpscQueue, SlotSizeError, SpscError, SpscQueue


def memory_of(trace, base=0):
    memory = bytearray(base + 128 + 64 * trace["capacity"])
    memory[base : base + 4] = trace["head0"].to_bytes(4, "little")
    memory[base + 64 : base + 68] = trace["tail0"].to_bytes(4, "little")
    return memory


class SlowMemory:
    """Asynchronous memory that logs its accesses."""

    def __init__(self, contents):
        self.contents = contents
        self.log = []

    async def read(self, offset, size):
        await asyncio.sleep(0)
        self.log.append(("read", offset, size))
        return bytes(self.contents[offset : offset + size])

    async def write(self, offset, data):
        await asyncio.sleep(0)
        self.log.append(("write", offset, len(data)))
        self.contents[offset : offset + len(data)] = data


def trace_id(trace):
    return f"{trace['capacity']}-{trace['head0']}-{trace['tail0']}"


@pytest.mark.parametrize("base", [0, 64, 4096])
@pytest.mark.parametrize("trace", TRACES, ids=trace_id)
def test_traces(trace, base):
    memory = memory_of(trace, base)
    producer = SpscQueue(memory, base, trace["capacity"])
    consumer = SpscQueue(memoryview(memory), base, trace["capacity"])
    for operation in trace["ops"]:
        if operation[0] == "send":
            assert producer.send(bytes.fromhex(operation[1])) == operation[2]
        else:
            message = consumer.recv(48)
            assert (message and message.hex()) == operation[1]
    assert hashlib.sha256(memory[base:]).hexdigest() == trace["memory_sha256"]
    assert int.from_bytes(memory[base : base + 4], "little") == trace["head"]
    assert int.from_bytes(memory[base + 64 : base + 68], "little") == trace["tail"]


@pytest.mark.parametrize("trace", TRACES[:4], ids=trace_id)
async def test_traces_over_a_slow_memory(trace):
    memory = SlowMemory(memory_of(trace))
    producer = AsyncSpscQueue(memory, 0, trace["capacity"])
    consumer = AsyncSpscQueue(memory, 0, trace["capacity"])
    await producer.open()
    await consumer.open()
    for operation in trace["ops"]:
        if operation[0] == "send":
            assert await producer.send(bytes.fromhex(operation[1])) == operation[2]
        else:
            message = await consumer.recv(48)
            assert (message and message.hex()) == operation[1]
    assert hashlib.sha256(memory.contents).hexdigest() == trace["memory_sha256"]


async def test_access_order():
    # Safety depends on the order: slot before head, slot before tail, and the peer's index only
    # if the queue appears full or empty.
    memory = SlowMemory(bytearray(4096))
    producer, consumer = AsyncSpscQueue(memory), AsyncSpscQueue(memory)
    await producer.open()
    assert memory.log == [("read", 64, 4), ("read", 0, 4)]
    await consumer.open()
    memory.log.clear()
    await producer.send(b"x" * 48)
    assert memory.log == [("read", 0, 4), ("write", 128, 48), ("write", 0, 4)]
    memory.log.clear()
    await consumer.recv(64)
    assert memory.log == [
        ("read", 64, 4),
        ("read", 0, 4),
        ("read", 128, 64),
        ("write", 64, 4),
    ]
    memory.log.clear()
    assert await consumer.recv(64) is None
    assert memory.log == [("read", 64, 4), ("read", 0, 4)]


def test_queue_holds_61_messages():
    memory = bytearray(4096)
    producer, consumer = SpscQueue(memory), SpscQueue(memory)
    for n in range(61):
        assert producer.send(bytes([n]) * 8)
    before = bytes(memory)
    assert not producer.send(b"no room!")
    assert memory == before
    assert consumer.recv(8) == bytes(8)
    assert producer.send(b"now room")
    assert [consumer.recv(1) for _ in range(61)] == [bytes([n]) for n in range(1, 61)] + [b"n"]
    assert consumer.recv(1) is None


def test_indices_are_taken_modulo_the_capacity():
    memory = bytearray(4096)
    memory[0:4] = (62 * 5 + 3).to_bytes(4, "little")
    memory[64:68] = (0xFFFF_FFFF).to_bytes(4, "little")
    producer = SpscQueue(memory)
    assert producer.send(b"a" * 64)
    assert memory[128 + 3 * 64 : 128 + 4 * 64] == b"a" * 64
    assert memory[0:4] == b"\4\0\0\0"
    consumer = SpscQueue(memory)
    consumer.recv(64)
    assert int.from_bytes(memory[64:68], "little") == 0xFFFF_FFFF % 62 + 1


def test_slot_is_padded_only_with_whole_slots():
    memory = bytearray(b"\xee" * 4096)
    memory[0:128] = bytes(128)
    SpscQueue(memory).send(b"a" * 10)
    assert memory[128:192] == b"a" * 10 + b"\xee" * 54
    SpscQueue(memory, whole_slots=True).send(b"b" * 10)
    assert memory[192:256] == b"b" * 10 + bytes(54)


def test_sizes_are_checked():
    queue = SpscQueue(bytearray(4096))
    for size in (0, 65):
        with pytest.raises(SlotSizeError, match=f"size is {size}: must be 1 to 64"):
            queue.send(bytes(size))
        with pytest.raises(SlotSizeError, match=f"size is {size}: must be 1 to 64"):
            queue.recv(size)
    with pytest.raises(SpscError, match="base is 1: must be 0 to 0 for a queue of 4096 bytes"):
        SpscQueue(bytearray(4096), 1)
    with pytest.raises(SpscError, match="base is -64"):
        SpscQueue(bytearray(4096), -64)
    with pytest.raises(LayoutError, match="capacity is 1"):
        SpscQueue(bytearray(4096), 0, 1)


def test_offsets_come_from_the_layout():
    layout = QueueLayout(head_offset=64, tail_offset=0, slots_offset=192, slot_size=32, capacity=4)
    memory = bytearray(layout.size)
    queue = SpscQueue(memory, 0, 4, layout=layout)
    queue.send(b"z" * 32)
    assert memory[64] == 1
    assert memory[192:224] == b"z" * 32


@FIXED
@given(st.integers(2, 9), st.lists(st.booleans(), max_size=80), st.integers(0, 2**32 - 1))
def test_matches_a_fifo_model(capacity, steps, start):
    memory = bytearray(128 + 64 * capacity)
    memory[0:4] = memory[64:68] = start.to_bytes(4, "little")
    producer, consumer = SpscQueue(memory, 0, capacity), SpscQueue(memory, 0, capacity)
    model = deque()
    for n, sending in enumerate(steps):
        if sending:
            assert producer.send(bytes([n])) == (len(model) < capacity - 1)
            if len(model) < capacity - 1:
                model.append(bytes([n]))
        else:
            assert consumer.recv(1) == (model.popleft() if model else None)
