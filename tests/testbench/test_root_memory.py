# SPDX-License-Identifier: BSD-2-Clause
"""The root complex's memory for host software, without a simulator."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from cocotbext.axi import AddressSpace

from models.host_memory import MemoryAccessError
from testbench.host.root_memory import RootComplexMemory

FOUR_GIB = 1 << 32
BASES = [0, FOUR_GIB, 0x12 * FOUR_GIB]


class Root:
    """The parts of a root complex that its memory uses: an address space with a pool."""

    def __init__(self) -> None:
        self.mem_address_space = AddressSpace(2**64)
        self.mem_pool = self.mem_address_space.create_pool(0, 1 << 31)


@pytest.mark.parametrize("base", BASES)
def test_allocations_are_aligned_separate_and_zeroed(base: int):
    root = Root()
    memory = RootComplexMemory(root, base=base)
    requests = [(1, 1), (100, 16), (4096, 4096), (20, 65536), (70, 1), (12345, 4096)]
    allocations = []
    for number, (size, align) in enumerate(requests, start=1):
        address = memory.allocate(size, align)
        assert address % align == 0 and base < address + 1 <= base + FOUR_GIB and address
        assert asyncio.run(memory.read(address, size)) == bytes(size)
        asyncio.run(memory.write(address, bytes([number]) * size))
        allocations.append((address, size))
    for number, (address, size) in enumerate(allocations, start=1):
        # A bus master reads the root complex's address space.
        assert asyncio.run(root.mem_address_space.read(address, size)) == bytes([number]) * size
    for (first, size), (second, _) in pairwise(sorted(allocations)):
        assert second >= first + size


def test_base_selects_the_pool():
    memory = RootComplexMemory(Root())
    assert memory.allocate(64, base=FOUR_GIB) == FOUR_GIB
    assert memory.allocate(64) < FOUR_GIB
    assert memory.allocate(64, base=FOUR_GIB) > FOUR_GIB


def test_whole_cache_line_of_small_allocation_is_readable():
    root = Root()
    address = RootComplexMemory(root).allocate(3, 1)
    assert address % 64 == 0
    assert asyncio.run(root.mem_address_space.read(address, 64)) == bytes(64)


def test_access_outside_an_allocation_raises():
    memory = RootComplexMemory(Root())
    for address in (0, 0x7000_0000, 7 * FOUR_GIB):
        with pytest.raises(MemoryAccessError, match=f"4 bytes at {address:#x}: must lie"):
            asyncio.run(memory.read(address, 4))
        with pytest.raises(MemoryAccessError, match=f"4 bytes at {address:#x}: must lie"):
            asyncio.run(memory.write(address, bytes(4)))
    with pytest.raises(MemoryAccessError, match="no space for 4294967296 bytes from 0x0 up"):
        memory.allocate(FOUR_GIB)


@pytest.mark.parametrize("base", [4096, FOUR_GIB + 1, -FOUR_GIB, 1 << 63])
def test_invalid_base_raises(base: int):
    text = "must be a multiple of 4 GiB below"
    with pytest.raises(ValueError, match=f"base is {base:#x}: {text}"):
        RootComplexMemory(Root(), base=base)
    with pytest.raises(ValueError, match=f"base is {base:#x}: {text}"):
        RootComplexMemory(Root()).allocate(4, base=base)


@pytest.mark.parametrize(("size", "align", "field"), [(0, 1, "size"), (1, 3, "align")])
def test_invalid_allocation_raises(size: int, align: int, field: str):
    with pytest.raises(ValueError, match=f"{field} is"):
        RootComplexMemory(Root()).allocate(size, align)
