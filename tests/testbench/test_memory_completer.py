# SPDX-License-Identifier: BSD-2-Clause
"""Host memory as a completer: order, latency, faults and counts, without a simulator."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import islice, repeat
from typing import Any

import pytest

from testbench.host.faults import Fault, no_completions, poisoned, refused, unchanged
from testbench.host.memory_completer import MEMORY_BASE, MemoryCompleter, latencies
from testbench.host.read_completions import Split
from testbench.tlp import CplStatus, Tlp
from testbench.tlp.packets import memory_read, memory_write
from testbench.tlp.traffic import Traffic

BLOCK = MEMORY_BASE


class Bus:
    """A host memory with 4 KiB allocated, and its completions with their time."""

    def __init__(self, latency: Iterable[float] | None = None, **options: Any) -> None:
        self.sent: list[tuple[float, Tlp]] = []
        self.now = 0.0
        self.memory = MemoryCompleter(
            lambda tlp: self.sent.append((self.now, tlp)), latency=latency, **options
        )
        assert self.memory.allocate(4096) == BLOCK

    def take(self, request: Tlp) -> None:
        self.memory.take(request, self.now, 128)

    def finish(self) -> list[Tlp]:
        """Advance time until all reads are complete; return all completions."""
        while (due := self.memory.run(self.now)) is not None:
            assert due > self.now
            self.now = due
        return [answer for _, answer in self.sent]


def test_reads_complete_at_once_without_latency():
    bus = Bus()
    bus.take(memory_write(BLOCK + 3, b"hello"))
    bus.take(memory_read(BLOCK + 3, 5, tag=4))
    assert bus.memory.run(0.0) is None
    ((time, answer),) = bus.sent
    assert time == 0.0 and answer.tag == 4
    assert answer.payload[3:8] == b"hello"


def test_latencies_of_first_and_next_completion():
    bus = Bus([100.0, 30.0], split=Split.LARGEST)
    bus.now = 50.0
    bus.take(memory_read(BLOCK, 256))
    assert bus.memory.run(bus.now) == 150.0 and not bus.sent
    bus.finish()
    assert [time for time, _ in bus.sent] == [150.0, 180.0]


def test_read_returns_earlier_writes_and_those_that_pass_it():
    bus = Bus(repeat(100.0))
    bus.take(memory_write(BLOCK, b"\1\1\1\1"))
    bus.take(memory_read(BLOCK, 8))
    bus.take(memory_write(BLOCK + 4, b"\2\2\2\2"))
    (answer,) = bus.finish()
    assert answer.payload == b"\1\1\1\1\2\2\2\2"


def test_memory_is_read_at_the_first_completion():
    bus = Bus(repeat(10.0))
    bus.take(memory_read(BLOCK, 256))
    bus.memory.run(10.0)
    bus.take(memory_write(BLOCK + 128, bytes(range(1, 9))))
    assert bus.finish()[1].payload == bytes(128)


def test_completions_overtake_and_interleave():
    bus = Bus([100.0, 10.0, 40.0, 40.0], split=Split.LARGEST)
    bus.take(memory_read(BLOCK, 256, tag=1))
    bus.take(memory_read(BLOCK, 256, tag=2))
    # Tag 2 has completions at 10 and 50; tag 1 starts at 100.
    assert [answer.tag for answer in bus.finish()] == [2, 2, 1, 1]
    bus = Bus([10.0, 20.0, 15.0, 15.0], split=Split.LARGEST)
    bus.take(memory_read(BLOCK, 256, tag=1))
    bus.take(memory_read(BLOCK, 256, tag=2))
    assert [answer.tag for answer in bus.finish()] == [1, 2, 1, 2]


def test_completions_of_one_read_stay_in_order():
    bus = Bus(latencies(5, shortest_ns=0, tail=0.5), split=Split.RANDOM, seed=3)
    requests = [memory_read(BLOCK + 64 * tag, 1024, tag=tag) for tag in range(32)]
    for request in requests:
        bus.take(request)
    bus.finish()
    order = [answer.tag for _, answer in bus.sent]
    assert order != sorted(order)
    for request in requests:
        counts = [answer.byte_count for _, answer in bus.sent if answer.tag == request.tag]
        assert counts[0] == 1024 and counts == sorted(counts, reverse=True)
        assert len(set(counts)) == len(counts) > 1
    assert [time for time, _ in bus.sent] == sorted(time for time, _ in bus.sent)
    assert bus.memory.outstanding == 0


def test_same_seeds_give_the_same_completions():
    def run() -> list[tuple[float, Tlp]]:
        bus = Bus(latencies(5), split=Split.RANDOM, seed=3)
        for tag in range(8):
            bus.take(memory_read(BLOCK, 1024, tag=tag))
        bus.finish()
        return bus.sent

    assert run() == run()


def test_unallocated_and_poisoned_requests_are_refused():
    bus = Bus(completer_id=0x19)
    unallocated_read, unallocated_write = memory_read(0x10, 8, tag=3), memory_write(0x10, bytes(8))
    poisoned_write = memory_write(BLOCK, b"\xff" * 4, ep=1)
    bus.take(unallocated_read)
    bus.take(unallocated_write)
    bus.take(poisoned_write)
    (answer,) = bus.finish()
    assert (answer.status, answer.tag, answer.byte_count) == (CplStatus.UR, 3, 8)
    assert answer.completer_id == 0x19
    assert bus.memory.refused_reads == [unallocated_read]
    assert bus.memory.refused_writes == [unallocated_write, poisoned_write]
    assert asyncio.run(bus.memory.read(BLOCK, 4)) == bytes(4)


def test_traffic_counts_enabled_bytes():
    bus = Bus()
    bus.take(memory_read(BLOCK + 1, 5))
    bus.take(memory_write(BLOCK + 2, bytes(77)))
    bus.take(memory_write(BLOCK + 2, b""))
    assert bus.memory.traffic == Traffic(reads=1, read_bytes=5, writes=2, write_bytes=77)


def test_first_matching_fault_applies():
    bus = Bus()
    bus.memory.faults += [
        Fault(refused(CplStatus.CA), when=lambda read: read.tag == 1),
        Fault(poisoned()),
        Fault(no_completions()),
    ]
    for tag in range(5):
        bus.take(memory_read(BLOCK, 4, tag=tag))
    found = {answer.tag: answer for answer in bus.finish()}
    assert sorted(found) == [0, 1, 3, 4]
    assert [found[tag].ep for tag in (0, 3, 4)] == [1, 0, 0]
    assert found[1].status == CplStatus.CA
    assert bus.memory.outstanding == 0


def test_fault_delays_completion():
    bus = Bus(repeat(10.0))
    bus.memory.faults.append(Fault(unchanged, after_ns=1000.0))
    bus.take(memory_read(BLOCK, 4, tag=1))
    bus.take(memory_read(BLOCK, 4, tag=2))
    bus.finish()
    assert [(time, answer.tag) for time, answer in bus.sent] == [(10.0, 2), (1010.0, 1)]


def test_abandon_drops_reads_in_flight():
    bus = Bus(repeat(10.0))
    bus.take(memory_read(BLOCK, 4))
    assert bus.memory.outstanding == 1
    bus.memory.abandon()
    assert bus.finish() == []


def test_latency_can_be_replaced():
    bus = Bus(repeat(10.0))
    bus.memory.set_latency(None)
    bus.take(memory_read(BLOCK, 4))
    assert bus.memory.run(0.0) is None and len(bus.sent) == 1


def test_latencies_are_seeded_and_in_range():
    first = list(islice(latencies(7), 2000))
    assert first == list(islice(latencies(7), 2000)) != list(islice(latencies(8), 2000))
    assert all(100 <= latency <= 3000 for latency in first)
    assert 100 < sum(latency > 400 for latency in first) < 300
    assert set(islice(latencies(1, shortest_ns=5, longest_ns=5, tail=0), 9)) == {5}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"tail": 2}, "tail is 2: must be 0 to 1"),
        ({"shortest_ns": 500.0}, "latencies are 500, 400 and 3000 ns: must not decrease"),
    ],
)
def test_invalid_latencies_raise(options: dict[str, Any], text: str):
    with pytest.raises(ValueError, match=text):
        next(latencies(1, **options))


def test_invalid_boundary_raises():
    with pytest.raises(ValueError, match="read_completion_boundary is 32: must be 64 or 128"):
        MemoryCompleter(print, read_completion_boundary=32)
