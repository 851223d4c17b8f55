# SPDX-License-Identifier: BSD-2-Clause
"""Both sides of a virtqueue together: any chains, with any interleaving of accesses."""

import asyncio
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_support import FIXED
from virtqueue_support import ManualQueue

from models.dma import DmaError
from models.virtqueue import Buffer, VirtqueueError

OPTIONS = st.fixed_dictionaries({"indirect": st.booleans(), "event_index": st.booleans()})


class Step:
    """Awaitable that suspends a coroutine until its next step."""

    def __await__(self):
        yield


class SteppedMemory:
    """Memory with one step per access."""

    def __init__(self, memory):
        self._memory = memory
        self.allocate = memory.allocate

    async def read(self, address, size):
        await Step()
        return self._memory.load(address, size)

    async def write(self, address, data):
        await Step()
        self._memory.store(address, data)


class Flag:
    """Notification flag. Waiting for it takes steps."""

    def __init__(self):
        self.raised = False
        self.count = 0
        self.waiting = False

    def set(self):
        self.raised = True
        self.count += 1

    async def wait(self):
        self.waiting = True
        while not self.raised:
            await Step()
        self.waiting = False
        self.raised = False


class Pair:
    """Driver that sends requests and device that answers them, connected by notifications only.

    The device returns the readable bytes of a request in reverse, up to the writable size.
    """

    def __init__(self, size, requests, *, indirect, event_index):
        self.manual = ManualQueue(size)
        self.requests = requests
        self.answers = {}
        self.kicks, self.interrupts = Flag(), Flag()
        self._memory = self.manual.memory
        self.manual.memory = SteppedMemory(self._memory)
        options = {"indirect": indirect, "event_index": event_index}
        self.driver_queue = self.manual.driver(**options)
        self.device_queue = self.manual.device(**options)

    def _place(self, number):
        sizes, rooms = self.requests[number]
        readable, writable = [], []
        for size in sizes:
            readable.append(Buffer(self._memory.allocate(size), size))
            self._memory.store(readable[-1].address, bytes([number & 0xFF]) * size)
        for room in rooms:
            writable.append(Buffer(self._memory.allocate(room), room))
        return readable, writable

    async def driver(self):
        queue, in_flight = self.driver_queue, {}
        remaining = list(range(len(self.requests)))
        while remaining or in_flight:
            while remaining and queue.free >= sum(map(len, self.requests[remaining[0]])):
                number = remaining.pop(0)
                readable, writable = self._place(number)
                in_flight[await queue.add(readable, writable)] = number, writable
                if await queue.needs_kick():
                    self.kicks.set()
            found = await queue.collect()
            for head, written in found:
                number, writable = in_flight.pop(head)
                data = b"".join(self._memory.load(*buffer) for buffer in writable)
                self.answers[number] = data[:written]
            if not found and in_flight:
                await self.interrupts.wait()

    async def device(self):
        queue = self.device_queue
        while True:
            await self.kicks.wait()
            while (chain := await queue.next_chain()) is not None:
                data = (await queue.read(chain))[::-1][: chain.writable_size]
                await queue.write(chain, data)
                await queue.complete(chain, len(data))
            if await queue.needs_notification():
                self.interrupts.set()

    def run(self, choices):
        """Step both sides as in ``choices``, then alternately, until the driver is done."""
        driver, device = self.driver(), self.device()
        try:
            for choice in choices:
                (device if choice else driver).send(None)
            while True:
                for _ in range(3):
                    driver.send(None)
                    device.send(None)
                stuck = self.kicks.waiting and self.interrupts.waiting
                assert not stuck or self.kicks.raised or self.interrupts.raised, "both wait"
        except StopIteration:
            pass
        finally:
            driver.close()
            device.close()

    def check(self):
        for number, (sizes, rooms) in enumerate(self.requests):
            size = min(sum(sizes), sum(rooms))
            assert self.answers[number] == bytes([number & 0xFF]) * size
        assert self.driver_queue.outstanding == 0
        assert self.driver_queue.free == self.manual.size


def chains(most):
    """Strategy of sizes of readable and writable buffers, 1 to ``most`` in total."""
    sizes = st.lists(st.integers(1, 40), max_size=most)
    pairs = st.tuples(sizes, sizes)
    return pairs.filter(lambda pair: 1 <= len(pair[0]) + len(pair[1]) <= most)


@FIXED
@given(st.data())
def test_every_request_is_answered_in_any_interleaving(data):
    """No necessary notification is missing."""
    size = data.draw(st.sampled_from([1, 2, 4, 8]))
    requests = data.draw(st.lists(chains(min(size, 4)), min_size=1, max_size=12))
    pair = Pair(size, requests, **data.draw(OPTIONS))
    pair.run(data.draw(st.lists(st.booleans(), max_size=400)))
    pair.check()
    assert pair.kicks.count <= len(requests) and pair.interrupts.count <= len(requests)


@pytest.mark.parametrize("event_index", [False, True])
def test_event_index_reduces_notifications(event_index):
    pair = Pair(8, [([4], [4])] * 64, indirect=False, event_index=event_index)
    # The driver fills the queue, then the device empties it.
    pair.run(([0] * 60 + [1] * 200) * 8)
    pair.check()
    assert (pair.kicks.count < 32) == event_index


@pytest.mark.parametrize("event_index", [False, True])
async def test_indices_wrap(event_index):
    """Notifications stay correct for more chains than an index counts."""
    manual = ManualQueue(32)
    address = manual.memory.allocate(4)
    driver = manual.driver(event_index=event_index)
    device = manual.device(event_index=event_index)
    done, batch = 0, 29
    while done < 0x1_0000 + 100:
        for _ in range(batch):
            await driver.add((), [Buffer(address, 4)])
        assert await driver.needs_kick()
        heads = set()
        while (chain := await device.next_chain()) is not None:
            heads.add(chain.head)
            await device.complete(chain, done & 3)
        assert await device.needs_notification()
        assert {used.head for used in await driver.collect()} == heads
        assert len(heads) == batch and await driver.collect() == []
        manual.memory.log.clear()
        done += batch
    index = (done & 0xFFFF).to_bytes(2, "little")
    assert (
        manual.memory.load(manual.avail, 4) == manual.memory.load(manual.used, 4) == b"\0\0" + index
    )


# A hostile peer


POKES = st.tuples(
    st.sampled_from(["table", "avail", "used", "indirect"]),
    st.integers(0, 127),
    st.binary(min_size=1, max_size=8) | st.sampled_from([b"\0", b"\1", b"\4\0", b"\xff\xff"]),
)


@FIXED
@given(st.data())
def test_corrupt_rings_raise_named_errors_only(data):
    """Each side continues over rings that are corrupted a few bytes at a time."""
    size = data.draw(st.sampled_from([1, 4, 8]))
    manual = ManualQueue(size)
    options = data.draw(OPTIONS)
    driver = manual.driver(**options)
    device = manual.device(**options, max_chain_bytes=1 << 16)
    buffers, table = manual.memory.allocate(4096), manual.memory.allocate(128)
    areas = {
        "table": (manual.table, 16 * size),
        "avail": (manual.avail, 6 + 2 * size),
        "used": (manual.used, 6 + 8 * size),
        "indirect": (table, 128),
    }

    def poke(area, offset, raw):
        base, length = areas[area]
        raw = raw[:length]
        manual.memory.store(base + offset % (length - len(raw) + 1), raw)

    async def add():
        count = data.draw(st.integers(1, 3))
        if count <= driver.free:
            await driver.add([Buffer(buffers, 8)], [Buffer(buffers + 8, 64)] * (count - 1))
            await driver.needs_kick()

    async def refer_to_table():
        if driver.free:
            head = await driver.add([Buffer(table, 16 * data.draw(st.integers(1, 8)))], ())
            manual.memory.store(manual.table + 16 * head + 12, b"\4\0")

    async def serve():
        # The size of the rings bounds the number of reads.
        manual.memory.reads_remaining = 8 * size + 16
        with contextlib.suppress(VirtqueueError, DmaError):
            if (chain := await device.next_chain()) is not None:
                assert chain.readable_size + chain.writable_size <= 1 << 16
                assert len(chain.readable) + len(chain.writable) <= size
                await device.read(chain, 0, min(chain.readable_size, 16))
                await device.complete(chain, 0)
            await device.needs_notification()

    async def collect():
        manual.memory.reads_remaining = 4 * size + 8
        with contextlib.suppress(VirtqueueError):
            used = await driver.collect()
            assert len(used) <= size

    async def run():
        for _ in range(data.draw(st.integers(1, 20))):
            for area, offset, raw in data.draw(st.lists(POKES, max_size=2)):
                poke(area, offset, raw)
            manual.memory.reads_remaining = None
            await data.draw(st.sampled_from([add, refer_to_table, serve, serve, collect]))()

    asyncio.run(run())
