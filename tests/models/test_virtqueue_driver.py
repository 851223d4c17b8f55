# SPDX-License-Identifier: BSD-2-Clause
"""Driver side of a virtqueue, with rings read and written by the test."""

import pytest
from virtqueue_support import ManualQueue

from models.virtqueue import Buffer, QueueFullError, UsedRingError, VirtqueueError


class Order:
    """Host memory that logs the writes of the driver in order."""

    def __init__(self, manual):
        self.stores = []
        self._memory = manual.memory
        self.allocate = manual.memory.allocate
        self.read = manual.memory.read
        manual.memory = self

    async def write(self, address, data):
        self.stores.append((address, bytes(data).hex()))
        self._memory.store(address, data)

    def load(self, address, size):
        return self._memory.load(address, size)


async def test_request_byte_by_byte():
    manual = ManualQueue(4)
    order = Order(manual)
    queue = manual.driver()
    head = await queue.add(
        [Buffer(0x1122_3344_5566_7788, 16)], [Buffer(0x2000, 512), Buffer(0x3000, 1)]
    )
    assert (head, queue.free, queue.outstanding) == (0, 1, 1)
    # Descriptors, then the ring entry, then the index.
    assert order.stores == [
        (manual.table, "88776655443322111000000001000100"),
        (manual.table + 16, "00200000000000000002000003000200"),
        (manual.table + 32, "00300000000000000100000002000000"),
        (manual.avail + 4, "0000"),
        (manual.avail, "00000100"),
    ]
    assert await queue.add([Buffer(0x4000, 1)], ()) == 3
    assert order.stores[-3:] == [
        (manual.table + 48, "00400000000000000100000000000000"),
        (manual.avail + 6, "0300"),
        (manual.avail, "00000200"),
    ]


async def test_indirect_byte_by_byte():
    manual = ManualQueue(4)
    order = Order(manual)
    queue = manual.driver(indirect=True)
    assert await queue.add([Buffer(0x1000, 16)], [Buffer(0x2000, 4)]) == 0
    table = int.from_bytes(bytes.fromhex(order.stores[1][1])[:8], "little")
    assert table % 16 == 0 and queue.free == 3
    assert order.stores == [
        (table, "0010000000000000100000000100010000200000000000000400000002000000"),
        (manual.table, table.to_bytes(8, "little").hex() + "2000000004000000"),
        (manual.avail + 4, "0000"),
        (manual.avail, "00000100"),
    ]
    # One buffer needs no table, and a table may not exceed the queue size (2.7.5.3.1).
    await queue.add([Buffer(0x3000, 7)], ())
    assert order.stores[4] == (manual.table + 16, "00300000000000000700000000000000")
    with pytest.raises(QueueFullError, match="free descriptors are 2: must be 5 for the chain"):
        await queue.add([Buffer(0x3000, 1)] * 5, ())


async def test_indirect_table_is_reused():
    manual, allocated = ManualQueue(2), []
    queue = manual.driver(indirect=True)
    allocate = manual.memory.allocate
    manual.memory.allocate = lambda *arguments: allocated.append(arguments) or allocate(*arguments)
    for number in range(6):
        await queue.add([Buffer(0x1000, 1)] * 2, ())
        manual.write_used((0, 0), (0, 0), index=number + 1)
        assert await queue.collect() == [(0, 0)]
    assert allocated == [(32, 16)]


async def test_descriptors_are_freed_when_used():
    manual = ManualQueue(4)
    queue = manual.driver()
    first = await queue.add([Buffer(0x1000, 1)] * 3, ())
    with pytest.raises(QueueFullError, match="free descriptors are 1: must be 2 for the chain"):
        await queue.add([Buffer(0x1000, 1)] * 2, ())
    second = await queue.add((), [Buffer(0x2000, 9)])
    with pytest.raises(QueueFullError, match="free descriptors are 0: must be 1 for the chain"):
        await queue.add([Buffer(0x1000, 1)], ())
    manual.write_used((second, 9), (first, 0))
    assert await queue.collect() == [(second, 9), (first, 0)]
    assert (queue.free, queue.outstanding) == (4, 0)
    assert await queue.collect() == []
    for _ in range(4):
        await queue.add([Buffer(0x1000, 1)], ())


async def test_indirect_chain_needs_a_free_descriptor():
    queue = ManualQueue(2).driver(indirect=True)
    for _ in range(2):
        await queue.add([Buffer(0x1000, 1)] * 2, ())
    with pytest.raises(QueueFullError, match="free descriptors are 0: must be 1 for the chain"):
        await queue.add([Buffer(0x1000, 1)] * 2, ())


async def test_empty_chain_is_refused():
    with pytest.raises(ValueError, match="a chain has no buffer: must have one or more"):
        await ManualQueue().driver().add((), ())


# What the device writes


async def two_outstanding(**options):
    manual = ManualQueue(4)
    queue = manual.driver(**options)
    assert await queue.add([Buffer(0x1000, 16)], [Buffer(0x2000, 8), Buffer(0x3000, 1)]) == 0
    assert await queue.add((), [Buffer(0x4000, 4)]) == 3
    return manual, queue


@pytest.mark.parametrize(
    ("elements", "text"),
    [
        ([(1, 0)], "used id is 1: must be a chain that the device has"),
        ([(4, 0)], "used id is 4: must be a chain"),
        ([(0xFFFF_FFFF, 0)], "used id is 4294967295: must be a chain"),
        ([(0, 0), (0, 0)], "used id is 0: must be a chain"),
        ([(0, 10)], "used len of chain 0 is 10: must be at most 9"),
        ([(3, 0xFFFF_FFFF)], "used len of chain 3 is 4294967295: must be at most 4"),
    ],
)
async def test_invalid_used_elements_are_refused(elements, text):
    manual, queue = await two_outstanding()
    manual.write_used(*elements)
    with pytest.raises(UsedRingError, match=text):
        await queue.collect()


@pytest.mark.parametrize("index", [3, 4, 0xFFFF, 0x8000])
async def test_used_index_too_far_ahead_is_refused(index):
    manual, queue = await two_outstanding()
    manual.write_used((0, 0), (3, 0), index=index)
    text = f"used.idx is {index}, {index} more than before: must be at most 2"
    with pytest.raises(UsedRingError, match=text) as caught:
        await queue.collect()
    assert isinstance(caught.value, VirtqueueError)


async def test_used_index_that_decreases_is_refused():
    manual, queue = await two_outstanding()
    manual.write_used((0, 9), (3, 4))
    assert await queue.collect() == [(0, 9), (3, 4)]
    manual.write_used((0, 9), index=1)
    with pytest.raises(UsedRingError, match=r"used\.idx is 1, 65535 more than before"):
        await queue.collect()


# Notifications


@pytest.mark.parametrize("suppressed", [False, True])
async def test_flag_no_notify(suppressed):
    manual = ManualQueue(4)
    manual.write_used(flags=1 if suppressed else 0)
    manual.set_avail_event(3 if not suppressed else 0)
    queue = manual.driver()
    assert not await queue.needs_kick()
    await queue.add([Buffer(0x1000, 1)], ())
    assert await queue.needs_kick() == (not suppressed)
    assert not await queue.needs_kick()


@pytest.mark.parametrize("event", range(4))
async def test_avail_event(event):
    """A notification is due when the available index passes avail_event, for any flag."""
    manual = ManualQueue(4)
    manual.write_used(flags=1)
    manual.set_avail_event(event)
    queue = manual.driver(event_index=True)
    kicks = []
    for _ in range(3):
        await queue.add([Buffer(0x1000, 1)], ())
        kicks.append(await queue.needs_kick())
    assert kicks == [number == event for number in range(3)]


async def test_one_notification_for_several_chains():
    manual = ManualQueue(4)
    manual.set_avail_event(1)
    queue = manual.driver(event_index=True)
    for _ in range(3):
        await queue.add([Buffer(0x1000, 1)], ())
    assert await queue.needs_kick() and not await queue.needs_kick()


async def test_used_event_is_written_when_nothing_is_used():
    manual, queue = await two_outstanding(event_index=True)
    manual.write_used((3, 0))
    assert await queue.collect() == [(3, 0)]
    assert manual.used_event == b"\0\0"
    assert await queue.collect() == [] and manual.used_event == b"\1\0"


async def test_completion_during_the_used_event_write_is_found():
    manual, queue = await two_outstanding(event_index=True)
    write = manual.memory.write

    async def write_and_complete(address, data):
        await write(address, data)
        manual.write_used((3, 2))

    manual.memory.write = write_and_complete
    assert await queue.collect() == [(3, 2)]


async def test_used_event_is_not_written_unless_negotiated():
    manual, queue = await two_outstanding()
    manual.write_used((3, 0))
    await queue.collect()
    assert await queue.collect() == [] and manual.used_event == b"\0\0"
