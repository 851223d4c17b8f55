# SPDX-License-Identifier: BSD-2-Clause
"""Descriptor chains as read by a device: indirect tables, loops, and invalid descriptors."""

import pytest
from virtqueue_support import INDIRECT, NEXT, WRITE, Hand

from models.virtqueue import Buffer, ChainTooLargeError, DescriptorError

# Indirect descriptors


@pytest.mark.parametrize("entries", [1, 2, 4])
@pytest.mark.parametrize("direct", [0, 1])
async def test_indirect_table(entries, direct):
    """A chain may have as many buffers as the queue has descriptors (2.7.5.3.2).

    Some of them may be before the table.
    """
    entries -= direct if entries == 4 else 0
    hand = Hand(4)
    base, table = hand.memory.allocate(1024), hand.memory.allocate(16 * entries)
    for number in range(entries):
        more = NEXT if number + 1 < entries else 0
        hand.describe(number, base + 16 * number, 8, WRITE | more, number + 1, table=table)
    if direct:
        hand.describe(2, base + 512, 5, NEXT, 3)
    # WRITE is ignored in a descriptor of an indirect table.
    hand.describe(3, table, 16 * entries, INDIRECT | WRITE)
    hand.offer(2 if direct else 3)
    chain = await hand.device(indirect=True).next_chain()
    assert list(chain.writable) == [Buffer(base + 16 * number, 8) for number in range(entries)]
    assert list(chain.readable) == [Buffer(base + 512, 5)] * direct
    assert hand.memory.log[-1] == ("read", table, 16 * entries)


async def test_more_buffers_than_descriptors_are_refused():
    """One buffer before the table and four in it exceed a queue of four."""
    hand = Hand(4)
    table = hand.memory.allocate(64)
    for number in range(4):
        hand.describe(number, 0x1000, 8, NEXT if number < 3 else 0, number + 1, table=table)
    hand.describe(0, 0x1000, 8, NEXT, 1)
    hand.describe(1, table, 64, INDIRECT)
    hand.offer(0)
    with pytest.raises(DescriptorError, match="must end within 4 descriptors"):
        await hand.device(indirect=True).next_chain()


async def test_indirect_table_within_a_table_is_refused():
    hand = Hand(4)
    table = hand.memory.allocate(32)
    hand.describe(0, table, 32, INDIRECT)
    hand.describe(0, table, 32, INDIRECT, table=table)
    hand.offer(0)
    hand.memory.reads_left = 4
    with pytest.raises(DescriptorError, match="INDIRECT within an indirect table"):
        await hand.device(indirect=True).next_chain()


async def test_indirect_descriptor_needs_negotiation():
    hand = Hand(4)
    hand.describe(0, hand.memory.allocate(16), 16, INDIRECT)
    hand.offer(0)
    with pytest.raises(DescriptorError, match="flags has INDIRECT, which was not negotiated"):
        await hand.device().next_chain()


@pytest.mark.parametrize("size", [0, 1, 15, 17, 80, 0xFFFF_FFF0])
async def test_invalid_indirect_table_size_is_refused(size):
    hand = Hand(4)
    hand.describe(0, hand.memory.allocate(4096), size, INDIRECT)
    hand.offer(0)
    text = f"len of the indirect table is {size}, must be a multiple of 16 up to 64"
    with pytest.raises(DescriptorError, match=text):
        await hand.device(indirect=True).next_chain()


async def test_next_outside_the_table_is_refused():
    hand = Hand(4)
    table = hand.memory.allocate(32)
    hand.describe(0, table, 32, INDIRECT)
    hand.describe(0, table, 32, NEXT, 2, table=table)
    hand.offer(0)
    with pytest.raises(DescriptorError, match="next is 2, must be below 2"):
        await hand.device(indirect=True).next_chain()


async def test_indirect_table_beyond_64_bits_is_refused():
    hand = Hand(4)
    hand.describe(0, (1 << 64) - 16, 32, INDIRECT)
    hand.offer(0)
    with pytest.raises(DescriptorError, match="must end within 64 bits"):
        await hand.device(indirect=True).next_chain()


# Chains that break a rule


@pytest.mark.parametrize("within_a_table", [False, True])
async def test_descriptor_loop_is_refused(within_a_table):
    """The error is raised after few reads."""
    hand = Hand(4)
    base, table = hand.memory.allocate(64), hand.memory.allocate(64)
    at = table if within_a_table else hand.table
    for number in range(4):
        hand.describe(number, base, 4, NEXT, (number + 1) % 4, table=at)
    if within_a_table:
        hand.describe(0, table, 64, INDIRECT)
    hand.offer(0)
    hand.memory.reads_left = 2 + 4
    with pytest.raises(DescriptorError, match=r"must end within 4 descriptors, the queue's size"):
        await hand.device(indirect=True).next_chain()


async def test_chain_of_all_descriptors():
    hand = Hand(4)
    address = hand.memory.allocate(64)
    for number in range(4):
        hand.describe(number, address, 4, NEXT if number else 0, number - 1 & 3)
    hand.offer(3)
    assert len((await hand.device().next_chain()).readable) == 4


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
    hand = Hand(4)
    hand.describe(0, address, size, flags, following)
    hand.describe(1, 0x1000, 4)
    hand.offer(0)
    with pytest.raises(DescriptorError, match=text):
        await hand.device().next_chain()


async def test_last_byte_of_the_address_space():
    hand = Hand(4)
    hand.describe(0, (1 << 64) - 2, 2)
    hand.offer(0)
    assert (await hand.device().next_chain()).readable_size == 2


@pytest.mark.parametrize(("sizes", "too_large"), [((50, 50), False), ((50, 51), True)])
async def test_bytes_of_a_chain_are_limited(sizes, too_large):
    hand = Hand(4)
    hand.describe(0, 0x1000, sizes[0], NEXT, 1)
    hand.describe(1, 0x1000, sizes[1], WRITE)
    hand.offer(0)
    queue = hand.device(max_chain_bytes=100)
    if not too_large:
        assert await queue.next_chain()
        return
    with pytest.raises(ChainTooLargeError, match="chain from 0 has 101 bytes: must be 100 at most"):
        await queue.next_chain()


async def test_chain_of_more_than_4_gib_is_refused():
    hand = Hand(4)
    for number in range(4):
        hand.describe(number, 0x1000, 0xFFFF_FFFF, WRITE | NEXT, number + 1)
    hand.offer(0)
    with pytest.raises(ChainTooLargeError, match="must be 4294967296 at most"):
        await hand.device().next_chain()
