# SPDX-License-Identifier: BSD-2-Clause
"""Device side of a virtqueue, with rings written by the test."""

import pytest
from virtqueue_support import NEXT, WRITE, ManualQueue

from models.dma import DmaError
from models.virtqueue import (
    AvailableRingError,
    Buffer,
    ChainTooLargeError,
    DescriptorError,
    DeviceVirtqueue,
    SplitLayout,
    VirtqueueError,
)


async def test_request_byte_by_byte():
    manual = ManualQueue()
    out, back = manual.memory.allocate(8), manual.memory.allocate(16)
    manual.memory.store(out, b"question")
    manual.memory.store(
        manual.table + 16 * 2,
        out.to_bytes(8, "little") + bytes.fromhex("08000000 0100 0100"),
    )
    manual.memory.store(
        manual.table + 16 * 1,
        back.to_bytes(8, "little") + bytes.fromhex("10000000 0200 0000"),
    )
    manual.memory.store(manual.avail, bytes.fromhex("0000 0100 0200"))
    queue = manual.device()
    chain = await queue.next_chain()
    assert (chain.head, chain.readable_size, chain.writable_size) == (2, 8, 16)
    assert list(chain.readable) == [Buffer(out, 8)] and list(chain.writable) == [Buffer(back, 16)]
    assert await queue.read(chain) == b"question"
    manual.memory.log.clear()
    await queue.write(chain, b"answer")
    await queue.complete(chain, 6)
    # Data, then the used element, then the index.
    assert manual.memory.log == [
        ("write", back, 6),
        ("write", manual.used + 4, 8),
        ("write", manual.used, 4),
    ]
    assert manual.memory.load(manual.used, 12) == bytes.fromhex("0000 0100 02000000 06000000")
    assert manual.memory.load(back, 16) == b"answer".ljust(16, b"\0")
    assert await queue.next_chain() is None


async def test_index_is_read_before_the_entries():
    manual = ManualQueue(8)
    address = manual.memory.allocate(16)
    for number in range(8):
        manual.write_descriptor(number, address, 16)
    manual.make_available(0, 1, 2, 3, 4, 5)
    queue = manual.device()
    assert (await queue.next_chain()).head == 0
    assert manual.memory.log[:2] == [("read", manual.avail, 4), ("read", manual.avail + 4, 12)]
    manual.memory.log.clear()
    assert [(await queue.next_chain()).head for _ in range(5)] == [1, 2, 3, 4, 5]
    # Chains covered by the first read of the index need no further read of it.
    assert not any(address == manual.avail for _, address, _ in manual.memory.log)


async def test_ring_entries_wrap():
    manual = ManualQueue(4)
    address = manual.memory.allocate(16)
    for number in range(4):
        manual.write_descriptor(number, address, 16, WRITE)
    queue = manual.device()
    manual.make_available(0, 1, 2)
    for head in range(3):
        chain = await queue.next_chain()
        assert chain.head == head
        await queue.complete(chain, head)
    # Entries 3, 4 and 5 are in the last slot and the first two slots.
    manual.memory.store(manual.avail + 4, bytes.fromhex("0000 0200 0200 0300"))
    manual.memory.store(manual.avail + 2, b"\6\0")
    for head in (3, 0, 2):
        chain = await queue.next_chain()
        assert chain.head == head
        await queue.complete(chain, 7)
    used = "0000 0600 00000000 07000000 02000000 07000000 02000000 02000000 03000000 07000000"
    assert manual.memory.load(manual.used, 36) == bytes.fromhex(used)


async def test_chains_complete_in_any_order():
    manual = ManualQueue(4)
    address = manual.memory.allocate(16)
    for number in range(4):
        manual.write_descriptor(number, address, 16, WRITE)
    manual.make_available(3, 1)
    queue = manual.device()
    first, second = await queue.next_chain(), await queue.next_chain()
    await queue.complete(second, 1)
    await queue.complete(first, 2)
    used = "0000 0200 01000000 01000000 03000000 02000000"
    assert manual.memory.load(manual.used, 20) == bytes.fromhex(used)


async def test_consecutive_descriptors_take_one_read():
    manual = ManualQueue(8)
    address = manual.memory.allocate(64)
    for number in range(4):
        manual.write_descriptor(number, address, 16, NEXT if number < 3 else 0, number + 1)
    manual.make_available(0)
    await manual.device().next_chain()
    assert manual.memory.log[2:] == [("read", manual.table, 64)]


async def test_pieces_of_several_buffers():
    manual = ManualQueue(8)
    base = manual.memory.allocate(64)
    manual.memory.store(base, bytes(range(64)))
    for number, (at, size, flags) in enumerate(
        [(0, 3, NEXT), (10, 4, NEXT), (20, 2, NEXT | WRITE), (30, 5, WRITE)]
    ):
        manual.write_descriptor(number, base + at, size, flags, number + 1)
    manual.make_available(0)
    queue = manual.device()
    chain = await queue.next_chain()
    assert await queue.read(chain) == bytes([0, 1, 2, 10, 11, 12, 13])
    assert await queue.read(chain, 2, 3) == bytes([2, 10, 11])
    assert await queue.read(chain, 3) == bytes([10, 11, 12, 13])
    assert await queue.read(chain, 7) == b"" and await queue.read(chain, 1, 0) == b""
    await queue.write(chain, b"abcd", 1)
    assert manual.memory.load(base + 20, 15) == b"\x14a" + bytes(range(22, 30)) + b"bcd\x21\x22"
    manual.memory.log.clear()
    for offset, size in ((0, 8), (7, 1), (8, 0), (9, None)):
        with pytest.raises(DescriptorError, match=r"readable bytes are 7: must be \d+ more"):
            await queue.read(chain, offset, size)
    for offset, size in ((0, 8), (7, 1)):
        with pytest.raises(DescriptorError, match="writable bytes are 7: must be 1 more"):
            await queue.write(chain, bytes(size), offset)
    assert not manual.memory.log


# Available rings that break a rule


@pytest.mark.parametrize("head", [4, 5, 0xFFFF])
async def test_head_outside_the_table_is_refused(head):
    manual = ManualQueue(4)
    manual.make_available(head)
    with pytest.raises(AvailableRingError, match=f"head is {head}: must be below 4"):
        await manual.device().next_chain()


async def test_head_in_flight_is_refused():
    manual = ManualQueue(4)
    manual.write_descriptor(1, 0x1000, 4)
    manual.make_available(1, 1)
    queue = manual.device()
    await queue.next_chain()
    with pytest.raises(AvailableRingError, match="head is 1: is available already"):
        await queue.next_chain()


@pytest.mark.parametrize(
    ("in_flight", "index", "valid"), [(0, 4, 1), (0, 5, 0), (2, 4, 1), (2, 5, 0)]
)
@pytest.mark.parametrize("backwards", [False, True])
async def test_available_index_too_far_ahead_is_refused(in_flight, index, valid, backwards):
    manual = ManualQueue(4)
    for number in range(4):
        manual.write_descriptor(number, 0x1000, 4)
    manual.make_available(0, 1, 2, 3, index=in_flight)
    queue = manual.device()
    for _ in range(in_flight):
        await queue.next_chain()
    manual.make_available(0, 1, 2, 3, index=in_flight - 1 & 0xFFFF if backwards else index)
    if valid and not backwards:
        assert await queue.next_chain()
        return
    limit = "must be at most 4, the queue's size"
    with pytest.raises(AvailableRingError, match=rf"avail.idx is \d+, \d+ more than .*: {limit}"):
        await queue.next_chain()


async def test_missing_memory_is_a_dma_error():
    manual = ManualQueue(4)
    manual.make_available(0)
    manual.table = 0x9000
    with pytest.raises(DmaError):
        await manual.device().next_chain()


def test_every_error_is_a_virtqueue_error():
    for error in (AvailableRingError, ChainTooLargeError, DescriptorError):
        assert issubclass(error, VirtqueueError)
    with pytest.raises(ValueError, match="queue size is 3"):
        DeviceVirtqueue(
            ManualQueue().memory, size=3, descriptor_addr=0, driver_addr=0, device_addr=0
        )
    assert SplitLayout(4) == ManualQueue(4).device().layout


# Notifications


@pytest.mark.parametrize("suppressed", [False, True])
async def test_flag_no_interrupt(suppressed):
    manual = ManualQueue(4)
    manual.write_descriptor(0, manual.memory.allocate(16), 16, WRITE)
    manual.make_available(0, flags=1 if suppressed else 0)
    # used_event is ignored, because EVENT_IDX was not negotiated.
    manual.set_used_event(0 if suppressed else 3)
    queue = manual.device()
    assert not await queue.needs_notification()
    await queue.complete(await queue.next_chain(), 0)
    assert await queue.needs_notification() == (not suppressed)
    assert not await queue.needs_notification()


@pytest.mark.parametrize("event", range(4))
async def test_used_event(event):
    """A notification is due once, when the used index passes used_event, for any flag."""
    manual = ManualQueue(4)
    for number in range(4):
        manual.write_descriptor(number, 0x1000, 4, WRITE)
    manual.make_available(0, 1, 2, flags=1)
    manual.set_used_event(event)
    queue = manual.device(event_index=True)
    due = []
    for _ in range(3):
        await queue.complete(await queue.next_chain(), 0)
        due.append(await queue.needs_notification())
    assert due == [number == event for number in range(3)]


async def test_used_event_within_several():
    manual = ManualQueue(4)
    for number in range(4):
        manual.write_descriptor(number, 0x1000, 4, WRITE)
    manual.make_available(0, 1, 2)
    manual.set_used_event(1)
    queue = manual.device(event_index=True)
    for _ in range(3):
        await queue.complete(await queue.next_chain(), 0)
    manual.memory.log.clear()
    assert await queue.needs_notification()
    assert manual.memory.log == [("read", manual.avail + 12, 2)]


async def test_avail_event_is_written_when_the_queue_is_empty():
    manual = ManualQueue(4)
    address = manual.memory.allocate(16)
    for number in range(4):
        manual.write_descriptor(number, address, 4)
    manual.make_available(0, 1)
    queue = manual.device(event_index=True)
    await queue.next_chain()
    await queue.next_chain()
    assert manual.avail_event == b"\0\0"
    manual.memory.log.clear()
    assert await queue.next_chain() is None
    assert manual.avail_event == b"\2\0"
    # The queue reads the index again: the driver may have read the previous avail_event.
    assert manual.memory.log == [
        ("read", manual.avail, 4),
        ("write", manual.used + 36, 2),
        ("read", manual.avail, 4),
    ]
    manual.memory.log.clear()
    assert await queue.next_chain() is None
    assert manual.memory.log == [("read", manual.avail, 4)]


async def test_avail_event_is_not_written_unless_negotiated():
    manual = ManualQueue(4)
    manual.write_descriptor(0, 0x1000, 4)
    manual.make_available(0)
    queue = manual.device()
    await queue.next_chain()
    assert await queue.next_chain() is None
    assert manual.avail_event == b"\0\0"
