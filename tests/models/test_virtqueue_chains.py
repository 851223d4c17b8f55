# SPDX-License-Identifier: BSD-2-Clause
"""Descriptor chains as read by a device: indirect tables, loops, and invalid descriptors."""

import pytest
from virtqueue_support import INDIRECT, NEXT, WRITE, ManualQueue

from models.virtqueue import Buffer, ChainTooLargeError, DescriptorError

# Indirect descriptors


@pytest.mark.parametrize("entries", [1, 2, 4])
@pytest.mark.parametrize("direct", [0, 1])
async def test_indirect_table(entries, direct):
    """A chain may have as many buffers as the queue has descriptors (2.7.5.3.2).

    Some of them may be before the table.
    """
    entries -= direct if entries == 4 else 0
    manual = ManualQueue(4)
    base, table = manual.memory.allocate(1024), manual.memory.allocate(16 * entries)
    for number in range(entries):
        more = NEXT if number + 1 < entries else 0
        manual.write_descriptor(
            number, base + 16 * number, 8, WRITE | more, number + 1, table=table
        )
    if direct:
        manual.write_descriptor(2, base + 512, 5, NEXT, 3)
    # WRITE is ignored in a descriptor of an indirect table.
    manual.write_descriptor(3, table, 16 * entries, INDIRECT | WRITE)
    manual.make_available(2 if direct else 3)
    chain = await manual.device(indirect=True).next_chain()
    assert list(chain.writable) == [Buffer(base + 16 * number, 8) for number in range(entries)]
    assert list(chain.readable) == [Buffer(base + 512, 5)] * direct
    assert manual.memory.log[-1] == ("read", table, 16 * entries)


async def test_more_buffers_than_descriptors_are_refused():
    """One buffer before the table and four in it exceed a queue of four."""
    manual = ManualQueue(4)
    table = manual.memory.allocate(64)
    for number in range(4):
        manual.write_descriptor(
            number, 0x1000, 8, NEXT if number < 3 else 0, number + 1, table=table
        )
    manual.write_descriptor(0, 0x1000, 8, NEXT, 1)
    manual.write_descriptor(1, table, 64, INDIRECT)
    manual.make_available(0)
    with pytest.raises(DescriptorError, match="must end within 4 descriptors"):
        await manual.device(indirect=True).next_chain()


async def test_indirect_table_within_a_table_is_refused():
    manual = ManualQueue(4)
    table = manual.memory.allocate(32)
    manual.write_descriptor(0, table, 32, INDIRECT)
    manual.write_descriptor(0, table, 32, INDIRECT, table=table)
    manual.make_available(0)
    manual.memory.reads_remaining = 4
    with pytest.raises(DescriptorError, match="INDIRECT within an indirect table"):
        await manual.device(indirect=True).next_chain()


async def test_indirect_descriptor_needs_negotiation():
    manual = ManualQueue(4)
    manual.write_descriptor(0, manual.memory.allocate(16), 16, INDIRECT)
    manual.make_available(0)
    with pytest.raises(DescriptorError, match="flags has INDIRECT, which was not negotiated"):
        await manual.device().next_chain()


@pytest.mark.parametrize("size", [0, 1, 15, 17, 80, 0xFFFF_FFF0])
async def test_invalid_indirect_table_size_is_refused(size):
    manual = ManualQueue(4)
    manual.write_descriptor(0, manual.memory.allocate(4096), size, INDIRECT)
    manual.make_available(0)
    text = f"len of the indirect table is {size}, must be a multiple of 16 up to 64"
    with pytest.raises(DescriptorError, match=text):
        await manual.device(indirect=True).next_chain()


async def test_next_outside_the_table_is_refused():
    manual = ManualQueue(4)
    table = manual.memory.allocate(32)
    manual.write_descriptor(0, table, 32, INDIRECT)
    manual.write_descriptor(0, table, 32, NEXT, 2, table=table)
    manual.make_available(0)
    with pytest.raises(DescriptorError, match="next is 2, must be below 2"):
        await manual.device(indirect=True).next_chain()


async def test_indirect_table_beyond_64_bits_is_refused():
    manual = ManualQueue(4)
    manual.write_descriptor(0, (1 << 64) - 16, 32, INDIRECT)
    manual.make_available(0)
    with pytest.raises(DescriptorError, match="must end within 64 bits"):
        await manual.device(indirect=True).next_chain()


# Chains that break a rule


@pytest.mark.parametrize("within_a_table", [False, True])
async def test_descriptor_loop_is_refused(within_a_table):
    """The error is raised after few reads."""
    manual = ManualQueue(4)
    base, table = manual.memory.allocate(64), manual.memory.allocate(64)
    at = table if within_a_table else manual.table
    for number in range(4):
        manual.write_descriptor(number, base, 4, NEXT, (number + 1) % 4, table=at)
    if within_a_table:
        manual.write_descriptor(0, table, 64, INDIRECT)
    manual.make_available(0)
    manual.memory.reads_remaining = 2 + 4
    with pytest.raises(DescriptorError, match=r"must end within 4 descriptors, the queue's size"):
        await manual.device(indirect=True).next_chain()


async def test_chain_of_all_descriptors():
    manual = ManualQueue(4)
    address = manual.memory.allocate(64)
    for number in range(4):
        manual.write_descriptor(number, address, 4, NEXT if number else 0, number - 1 & 3)
    manual.make_available(3)
    assert len((await manual.device().next_chain()).readable) == 4


@pytest.mark.parametrize(
    ("address", "size", "flags", "following", "text"),
    [
        (0x1000, 4, NEXT, 4, "descriptor 0 of the chain from 0: next is 4, must be below 4"),
        (0x1000, 4, NEXT, 0xFFFF, "next is 65535, must be below 4"),
        (0x1000, 0, 0, 0, "descriptor 0 of the chain from 0: len is 0, must be 1 or more"),
        ((1 << 64) - 1, 2, 0, 0, "addr is 0xffffffffffffffff and len 2, must end within 64 bits"),
        (0x1000, 4, NEXT | WRITE, 1, "descriptor 1 .*: readable, must not follow writable ones"),
    ],
)
async def test_invalid_descriptors_are_refused(address, size, flags, following, text):
    manual = ManualQueue(4)
    manual.write_descriptor(0, address, size, flags, following)
    manual.write_descriptor(1, 0x1000, 4)
    manual.make_available(0)
    with pytest.raises(DescriptorError, match=text):
        await manual.device().next_chain()


async def test_last_byte_of_the_address_space():
    manual = ManualQueue(4)
    manual.write_descriptor(0, (1 << 64) - 2, 2)
    manual.make_available(0)
    assert (await manual.device().next_chain()).readable_size == 2


@pytest.mark.parametrize(("sizes", "too_large"), [((50, 50), False), ((50, 51), True)])
async def test_bytes_of_a_chain_are_limited(sizes, too_large):
    manual = ManualQueue(4)
    manual.write_descriptor(0, 0x1000, sizes[0], NEXT, 1)
    manual.write_descriptor(1, 0x1000, sizes[1], WRITE)
    manual.make_available(0)
    queue = manual.device(max_chain_bytes=100)
    if not too_large:
        assert await queue.next_chain()
        return
    with pytest.raises(ChainTooLargeError, match="chain from 0 has 101 bytes: must be 100 at most"):
        await queue.next_chain()


async def test_chain_of_more_than_4_gib_is_refused():
    manual = ManualQueue(4)
    for number in range(4):
        manual.write_descriptor(number, 0x1000, 0xFFFF_FFFF, WRITE | NEXT, number + 1)
    manual.make_available(0)
    with pytest.raises(ChainTooLargeError, match="must be 4294967296 at most"):
        await manual.device().next_chain()
