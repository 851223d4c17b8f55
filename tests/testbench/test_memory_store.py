# SPDX-License-Identifier: BSD-2-Clause
"""Host memory without a bus: allocations, and execution of memory requests."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.host_memory import GUARD, MemoryAccessError
from testbench.host.memory_store import JUNK, LINE, SparseMemory
from testbench.tlp import Tlp, TlpKind
from testbench.tlp.packets import memory_read, memory_write
from testbench.tlp.traffic import Traffic, byte_mask

LOW, HIGH = 0x1000_0000, 0x12_0000_0000


def software_read(memory: SparseMemory, address: int, size: int) -> bytes:
    return asyncio.run(memory.read(address, size))


def software_write(memory: SparseMemory, address: int, data: bytes) -> None:
    asyncio.run(memory.write(address, data))


@given(
    st.lists(
        st.tuples(
            st.integers(1, 9000),
            st.sampled_from([1, 2, 16, 64, 4096, 65536]),
            st.sampled_from([None, 0, LOW + 5, LOW + 4096, HIGH]),
        ),
        max_size=12,
    )
)
def test_allocations_are_aligned_separate_and_zeroed(requests: list[tuple[int, int, int | None]]):
    memory = SparseMemory(base=LOW)
    allocations = []
    for size, align, base in requests:
        address = memory.allocate(size, align, base=base)
        assert address % align == 0 and address >= max(1, LOW if base is None else base)
        assert software_read(memory, address, size) == bytes(size)
        software_write(memory, address, bytes([len(allocations) + 1]) * size)
        allocations.append((address, size))
    for number, (address, size) in enumerate(allocations, start=1):
        assert software_read(memory, address, size) == bytes([number]) * size
    allocations.sort()
    for (first, size), (second, _) in pairwise(allocations):
        assert second >= first + size + GUARD


@pytest.mark.parametrize(
    ("size", "align", "text"),
    [
        (0, 1, "size is 0: must be 1 or more"),
        (1, 0, "align is 0: must be a power of two"),
        (1, 24, "align is 24: must be a power of two"),
    ],
)
def test_invalid_allocation_raises(size: int, align: int, text: str):
    with pytest.raises(ValueError, match=text):
        SparseMemory(base=LOW).allocate(size, align)


def test_allocation_beyond_the_address_space_raises():
    memory = SparseMemory(base=(1 << 64) - 4096)
    assert memory.allocate(4096) == (1 << 64) - 4096
    with pytest.raises(MemoryAccessError, match=r"no space for 1 bytes from 0x1000\d{13}"):
        memory.allocate(1)


def test_access_outside_an_allocation_raises():
    memory = SparseMemory(base=LOW)
    address = memory.allocate(100, 64)
    for start, size in ((address - 1, 1), (address + 100, 1), (address, 101), (0, 4)):
        with pytest.raises(MemoryAccessError, match=f"{size} bytes at {start:#x}: must lie"):
            software_read(memory, start, size)
        with pytest.raises(MemoryAccessError, match=f"{size} bytes at {start:#x}: must lie"):
            software_write(memory, start, bytes(size))


@given(st.integers(0, 130), st.integers(0, 130), st.sampled_from([LOW, HIGH]))
def test_write_request_stores_enabled_bytes(offset: int, size: int, base: int):
    memory = SparseMemory(base=base)
    address = memory.allocate(260, 64)
    software_write(memory, address, b"\x11" * 260)
    data = bytes(range(100, 100 + size))
    assert memory.store(memory_write(address + offset, data))
    expected = b"\x11" * offset + data + b"\x11" * (260 - offset - size)
    assert software_read(memory, address, 260) == expected


def test_byte_enables_with_holes():
    memory = SparseMemory(base=LOW)
    address = memory.allocate(16)
    write = Tlp(
        TlpKind.MWR32,
        length=2,
        address=address,
        first_be=0b0101,
        last_be=0b1010,
        payload=bytes(range(1, 9)),
    )
    assert memory.store(write)
    assert software_read(memory, address, 8) == bytes([1, 0, 3, 0, 0, 6, 0, 8])
    assert memory.store(write.replace(length=1, first_be=0b1000, last_be=0, payload=b"abcd"))
    assert software_read(memory, address, 8) == bytes([1, 0, 3, ord("d"), 0, 6, 0, 8])
    software_write(memory, address, bytes(range(1, 9)))
    read = memory.load(write.replace(kind=TlpKind.MRD32, payload=b""))
    assert read == bytes([1, JUNK, 3, JUNK, JUNK, 6, JUNK, 8])


def test_zero_length_requests_change_nothing():
    memory = SparseMemory(base=LOW)
    address = memory.allocate(4)
    assert memory.store(memory_write(address, b""))
    assert memory.load(memory_read(address, 0)) == bytes([JUNK]) * 4
    assert software_read(memory, address, 4) == bytes(4)
    assert memory.load(memory_read(address + GUARD, 0)) is None


@given(st.integers(0, 140), st.integers(1, 200))
def test_read_request_returns_enabled_bytes(offset: int, size: int):
    memory = SparseMemory(base=LOW)
    address = memory.allocate(340, 64)
    software_write(memory, address, bytes(n % 251 for n in range(340)))
    request = memory_read(address + offset, size)
    data = memory.load(request)
    assert data is not None and len(data) == 4 * request.length
    lead = offset & 3
    assert data[lead : lead + size] == software_read(memory, address + offset, size)
    assert set(data[:lead] + data[lead + size :]) <= {JUNK}


def test_requests_at_the_edges_of_an_allocation():
    """A read may cover the whole cache line, a write only allocated bytes."""
    memory = SparseMemory(base=LOW)
    address = memory.allocate(20, 16, base=LOW + 16)
    assert address == LOW + 16
    line = memory.load(memory_read(LOW, LINE))
    assert line == bytes([JUNK]) * 16 + bytes(20) + bytes([JUNK]) * 28
    for start, size in ((LOW - 1, 1), (LOW - 4, 8), (LOW + LINE, 1), (LOW + 60, 8)):
        assert memory.load(memory_read(start, size)) is None
    for start, size in ((address - 1, 1), (address - 1, 2), (address + 20, 1), (address, 21)):
        assert not memory.store(memory_write(start, bytes(size)))
    assert memory.store(memory_write(address + 19, b"z"))
    assert software_read(memory, address, 20) == bytes(19) + b"z"


def test_write_with_short_payload_is_refused():
    memory = SparseMemory(base=LOW)
    address = memory.allocate(16)
    assert not memory.store(memory_write(address, bytes(8), length=3))


@given(st.integers(0, 8191), st.integers(0, 300))
def test_traffic_counts_enabled_bytes(address: int, size: int):
    read, write = memory_read(address, size), memory_write(address, bytes(size))
    assert byte_mask(read) == ((1 << size) - 1) << (address & 3)
    traffic = Traffic()
    traffic.count(read)
    traffic.count(read)
    traffic.count(write)
    traffic.count(Tlp(TlpKind.CPL))
    assert traffic == Traffic(reads=2, read_bytes=2 * size, writes=1, write_bytes=size)
