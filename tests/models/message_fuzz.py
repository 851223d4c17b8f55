# SPDX-License-Identifier: BSD-2-Clause
"""Fuzzing of a device side and of a driver with valid and damaged messages of every kind."""

import asyncio
import contextlib
import random
from collections import Counter, deque

from message_maker import CONSOLE, DISK, ENTROPY, NET, NUMBERS, RING_SIZE, WORDS, Maker

from models import virtual_time
from models.device_bus import DeviceBus
from models.devices import (
    BlockDevice,
    ConsoleDevice,
    EntropyDevice,
    NetworkDevice,
    SharedMemory,
)
from models.dma import PAGE, DmaError
from models.driver import Driver, DriverError
from models.drivers import BlockDriver, ConsoleDriver, EntropyDriver, NetworkDriver
from models.host_memory import MemoryAccessError, MemoryModel
from models.messages import MessageError, MessageKind, dialect_of
from models.runtime import AsyncioRuntime, sleep
from models.virtqueue import VirtqueueError

BATCH = 500
LIMIT_S = 100.0
"""Virtual time limit of a batch. A batch that exceeds it waits for an event that never occurs."""


def devices():
    disk = BlockDevice(sectors=64)
    disk.shared_memory[3] = SharedMemory(address=0x8_0000_0000, length=0x1000)
    return {
        ENTROPY: EntropyDevice(source=random.Random(0).randbytes, queue_size=RING_SIZE),
        CONSOLE: ConsoleDevice(),
        DISK: disk,
        NET: NetworkDevice(),
    }


class WatchedRuntime(AsyncioRuntime):
    """Runtime that keeps the exceptions of its tasks."""

    def __init__(self):
        super().__init__()
        self.failures = []

    def spawn(self, coroutine):
        task = super().spawn(coroutine)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task):
        if not task.cancelled() and task.exception() is not None:
            self.failures.append(task.exception())

    def check(self):
        if self.failures:
            raise AssertionError(f"a task failed with {self.failures[0]!r}") from self.failures[0]


class TrackedMemory(MemoryModel):
    """Host memory that keeps its newest allocations, where rings and buffers are."""

    def __init__(self):
        super().__init__()
        self.newest = deque(maxlen=6)

    def allocate(self, size, align=PAGE):
        start = super().allocate(size, align)
        self.newest.append((start, size))
        return start

    def free(self, address):
        super().free(address)
        self.newest = deque((block for block in self.newest if block[0] != address), maxlen=6)


class PartialDma:
    """:class:`~models.dma.Dma` over partially allocated memory, with ``pause`` before accesses."""

    def __init__(self, memory, pause):
        self._memory = memory
        self._pause = pause

    async def read(self, address, size):
        await self._pause()
        try:
            return self._memory.load(address, size)
        except MemoryAccessError as error:
            raise DmaError(str(error)) from error

    async def write(self, address, data):
        await self._pause()
        try:
            self._memory.store(address, data)
        except MemoryAccessError as error:
            raise DmaError(str(error)) from error


class Wire:
    """Message queues that connect a device side to a driver without a FIFO."""

    def __init__(self):
        self.sent = []
        self.inbox = asyncio.Queue()
        self.to_device = asyncio.Queue()

    async def receive(self):
        return 0, await self.to_device.get()

    async def send_to_driver(self, message):
        self.sent.append(message)
        self.inbox.put_nowait(message)


class Port:
    """:class:`~models.bus.DevicePort` of a :class:`Wire`."""

    def __init__(self, wire):
        self.receive = wire.receive
        self._wire = wire

    async def send(self, fifo, message):
        await self._wire.send_to_driver(message)


class Bus:
    """:class:`~models.bus.DriverBus` of a :class:`Wire`; ``lie`` may change received messages."""

    def __init__(self, wire, lie=None):
        self._wire = wire
        self._lie = lie

    async def open(self):
        pass

    async def send(self, message):
        self._wire.to_device.put_nowait(bytes(message))

    async def recv(self):
        raw = await self._wire.inbox.get()
        return raw if self._lie is None else self._lie(raw)


class Bench:
    """Device side with four devices and ``SIZE`` bytes of memory."""

    SIZE = 16 * PAGE

    def __init__(self, rng, revision, tally):
        self.rng = rng
        self.tally = tally
        self.dialect = dialect_of(revision)
        self.runtime = WatchedRuntime()
        self.memory = TrackedMemory()
        self.base = self.memory.allocate(self.SIZE)
        self.wire = Wire()
        self.side = DeviceBus(
            Port(self.wire),
            [devices()],
            self.runtime,
            dma=PartialDma(self.memory, self.pause),
            revision=revision,
        )
        self.transport = self.side.transports[0]
        self.maker = Maker(rng, self.dialect, self.base, self.SIZE)
        self.side.start()

    async def pause(self):
        """Let other tasks run, or let time pass."""
        if self.rng.random() < 0.3:
            await sleep(self.runtime, self.rng.choice((0, 1, 3)))

    def corrupt(self):
        """Corrupt the newest allocations with words and with plausible descriptors."""
        rng = self.rng
        start, size = rng.choice(self.memory.newest or [(self.base, self.SIZE)])
        for _ in range(rng.randint(1, 12)):
            if rng.random() < 0.4:
                # A descriptor.
                data = self.maker.address().to_bytes(8, "little")
                data += rng.choice((1, 1, 16, 64, *WORDS)).to_bytes(4, "little")
                data += rng.choice((0, 1, 2, 3, 4, 5, 7)).to_bytes(2, "little")
                data += rng.randrange(RING_SIZE + 1).to_bytes(2, "little")
            else:
                data = rng.choice(WORDS).to_bytes(4, "little")[: rng.choice((1, 2, 4))]
            if len(data) < size:
                # Prefer the start, where descriptors and ring headers are.
                end = min(size - len(data), rng.choice((8, 16 * RING_SIZE, size)))
                place = rng.randrange(0, end + 1, 16 if len(data) == 16 and end >= 16 else 1)
                self.memory.store(start + place, data)

    def offer(self, index):
        """Make chains available in ring ``index``, as set up by :meth:`Maker.bring_up`."""
        rng = self.rng
        table, available, _ = self.maker.ring(index)
        good = rng.random() < 0.5
        for number in range(RING_SIZE):
            if good:
                data = (self.base + self.SIZE // 2).to_bytes(8, "little") + b"\x40\0\0\0\2\0\0\0"
                self.memory.store(table + 16 * number, data)
                continue
            data = self.maker.address().to_bytes(8, "little")
            data += rng.choice((1, 16, 64, 512, 4096)).to_bytes(4, "little")
            data += rng.choice((0, 1, 2, 2, 2, 3, 4)).to_bytes(2, "little")
            self.memory.store(table + 16 * number, data + rng.randrange(16).to_bytes(2, "little"))
        index = rng.randrange(RING_SIZE + (not good))
        self.memory.store(available, rng.choice((b"\0\0", b"\0\0", b"\1\0")))
        self.memory.store(available + 2, index.to_bytes(2, "little"))
        for entry in range(RING_SIZE):
            head = entry if good else rng.randrange(rng.choice((RING_SIZE, RING_SIZE, 0x10000)))
            self.memory.store(available + 4 + 2 * entry, head.to_bytes(2, "little"))

    def check_answers(self):
        """Check that messages of the devices are valid, and failures of devices are expected."""
        for raw in self.wire.sent:
            message = self.dialect.decode(raw)
            assert message.kind is not MessageKind.REQUEST, message
            assert len(raw) <= self.dialect.max_size
            self.tally[message.role] += 1
        for device in self.transport.devices.values():
            if device.failure is not None:
                named = isinstance(device.failure, VirtqueueError | DmaError)
                assert named, f"a device failed with {device.failure!r}"
                self.tally[type(device.failure).__name__] += 1
        self.wire.sent.clear()
        while not self.wire.inbox.empty():
            self.wire.inbox.get_nowait()

    def stop(self):
        self.side.stop()
        self.runtime.check()


async def use(driver, number, memory, rng):
    """Bring device ``number`` up, move data, reset it."""
    if number == ENTROPY:
        path = await EntropyDriver.probe(driver, number, memory, queue_size=RING_SIZE)
        assert len(await path.read(100)) == 100
    elif number == CONSOLE:
        path = await ConsoleDriver.probe(driver, number, memory, queue_size=RING_SIZE)
        await path.write(b"after all that")
    elif number == DISK:
        path = await BlockDriver.probe(driver, number, memory, queue_size=RING_SIZE)
        data = rng.randbytes(512)
        await path.write(5, data)
        found = await path.read(5, 1)
        assert found == data, "other data were read than written"
    else:
        path = await NetworkDriver.probe(driver, number, memory, queue_size=RING_SIZE)
        await path.send(b"\xff" * 60)
    path.stop()
    await path.device.reset()


async def hostile_driver(rng, revision, messages, tally):
    """Send a batch of messages to a device side, then check that a valid driver works."""
    bench = Bench(rng, revision, tally)
    other = dialect_of("r1" if bench.dialect.revision == "v1" else "v1")
    queued = deque()
    for _ in range(messages):
        if not queued and rng.random() < 0.02:
            queued.extend(message.encode() for message in bench.maker.bring_up())
            bench.offer(0)
            bench.offer(1)
        raw = queued.popleft() if queued else bench.maker.any()
        for dialect in (bench.dialect, other):
            with contextlib.suppress(MessageError):
                dialect.decode(raw)
        bench.wire.to_device.put_nowait(raw)
        if rng.random() < 0.1:
            bench.corrupt()
        if rng.random() < 0.1:
            bench.offer(rng.randrange(2))
        if rng.random() < 0.2:
            await sleep(bench.runtime, rng.choice((0, 1, 20)))
            bench.runtime.check()
            bench.check_answers()
    await sleep(bench.runtime, 1000 * messages)
    assert bench.wire.to_device.empty(), "messages are not taken"
    bench.check_answers()
    tally["received"] += bench.transport.received
    tally["dropped"] += sum(bench.transport.drops.values())
    driver = Driver(Bus(bench.wire), bench.runtime, revision=bench.dialect)
    await driver.start()
    await driver.ping(0x12345678)
    number = rng.choice(NUMBERS)
    await use(driver, number, bench.memory, rng)
    driver.stop()
    bench.stop()


async def hostile_device(rng, revision, messages, tally):
    """Run a driver against damaged messages: it may fail with named errors only."""
    bench = Bench(rng, revision, tally)
    seen = 0

    def lie(raw):
        nonlocal seen
        seen += 1
        if rng.random() < 0.3:
            bench.wire.inbox.put_nowait(bench.maker.any())
        return bench.maker.damaged(raw) if rng.random() < 0.1 else raw

    driver = Driver(Bus(bench.wire, lie), bench.runtime, revision=bench.dialect, timeout_us=500)
    await driver.start()
    tries = 0
    while seen < messages:
        tries += 1
        corrupting = bench.runtime.spawn(corrupt_repeatedly(bench))
        try:
            await use(driver, rng.choice(NUMBERS), bench.memory, rng)
            tally["worked"] += 1
        except DriverError as error:
            tally[type(error).__name__] += 1
        except AssertionError as error:
            if "other data" not in str(error):
                raise
        corrupting.cancel()
        bench.runtime.check()
        bench.wire.sent.clear()
        assert tries < 10 * messages, "nothing comes in"
    tally["received"] += seen
    driver.stop()
    bench.stop()


async def corrupt_repeatedly(bench):
    """Corrupt rings and buffers while they are in use."""
    while True:
        await sleep(bench.runtime, bench.rng.choice((1, 10, 100)))
        bench.corrupt()


BATCHES = {"driver": hostile_driver, "device": hostile_device}


def run(side, revision, seed, messages):
    """Exchange ``messages`` with a hostile ``side``, in batches with a new system each."""
    tally = Counter()
    for batch in range(-(-messages // BATCH)):
        name = f"{seed} {side} {revision} {batch}"

        async def limited(name=name):
            async with asyncio.timeout(LIMIT_S):
                await BATCHES[side](random.Random(name), revision, BATCH, tally)

        try:
            virtual_time.run(limited())
        except Exception as error:
            raise AssertionError(f"batch {name!r}: {error!r}") from error
    return tally
