# SPDX-License-Identifier: BSD-2-Clause
"""Notifications of a queue that never runs empty, and over whole laps of the ring index."""

import struct

import pytest
from virtqueue_support import WRITE, ManualQueue

from models.devices import BlockDevice, ConsoleDevice, EntropyDevice, NetworkDevice
from models.devices.network import RECEIVE
from models.driver import RingAllocator
from models.system import ModelSystem
from models.virtio import Feature
from models.virtqueue import Buffer
from models.virtqueue.device import NOTIFY_BATCH
from models.virtqueue.layout import event_passed

MAX_ACCESSES = 40
"""Most memory accesses until a notification reaches the driver, one per turn of the scheduler."""


class Refill:
    """Makes a buffer available at each change of used.idx, as another processor of the host."""

    def __init__(self, memory, ring, dev, limit, add_input=lambda: None):
        self.before_notification = 0
        self._memory, self._ring, self._dev = memory, ring, dev
        self._limit, self._add_input, self._count = limit, add_input, 1
        self._store, memory.store = memory.store, self.store

    def store(self, address, data):
        self._store(address, data)
        if address == self._ring.device_addr and self._count < self._limit:
            self.before_notification += not len(self._dev.events)
            self._count += 1
            self._add_input()
            index = struct.pack("<H", self._count & 0xFFFF)
            self._store(self._ring.driver_addr + 2, index)


def fill_console(device):
    device.type(b"x" * 8)


def fill_network(device):
    device.deliver(bytes(60))


@pytest.mark.parametrize("event_index", [0, Feature.EVENT_IDX.mask])
@pytest.mark.parametrize(
    ("device", "queue", "readable", "add_input"),
    [
        (EntropyDevice(source=bytes), 0, False, None),
        (BlockDevice(), 0, None, None),
        (ConsoleDevice(), 0, False, fill_console),
        (ConsoleDevice(), 1, True, None),
        (NetworkDevice(), RECEIVE, False, fill_network),
        (NetworkDevice(), 1, True, None),
    ],
    ids=["entropy", "block", "console receive", "console transmit", "receive", "transmit"],
)
async def test_busy_queue_notifies_of_used_buffers(device, queue, readable, add_input, event_index):
    async with ModelSystem([{0: device}]) as system:
        memory = system.host.memory
        dev = await system.drivers[0].probe(
            0, features=event_index, rings=RingAllocator(max_size=4, memory=memory)
        )
        ring, buffer = dev.rings[queue], memory.allocate(256)
        if readable is None:
            # A request that the disk refuses: header and status.
            first = struct.pack("<QIHH", buffer, 16, 1, 1)
            memory.store(ring.descriptor_addr, first + struct.pack("<QIHH", buffer + 16, 1, 2, 0))
        else:
            flags = 0 if readable else WRITE
            memory.store(ring.descriptor_addr, struct.pack("<QIHH", buffer, 100, flags, 0))
        refill = Refill(
            memory, ring, dev, 1000, (lambda: add_input(device)) if add_input else lambda: None
        )
        if add_input:
            add_input(device)
        memory.store(ring.driver_addr, b"\0\0\1\0")
        await dev.notify(queue)
        assert await dev.wait_used(queue, 1e5) is not None
        assert refill.before_notification <= MAX_ACCESSES


async def test_notification_is_decided_once_per_batch():
    manual = ManualQueue(16)
    for number in range(16):
        manual.write_descriptor(number, 0x1000, 4, WRITE)
    manual.make_available(*range(16))
    queue, notified_at = manual.device(), []
    queue.notify = lambda: notified_at.append(queue._used)
    while (chain := await queue.next_chain()) is not None:
        await queue.complete(chain, 0)
    assert notified_at == list(range(NOTIFY_BATCH, 17, NOTIFY_BATCH))


@pytest.mark.parametrize("event", [0, 1, 0x7FFF, 0xFFFF])
@pytest.mark.parametrize("laps", [1, 2, 5])
def test_whole_lap_passes_every_event(event, laps):
    for before in (0, 1, 0xFFFF, 0x1_0000, 3 * 0x1_0000 + 7):
        assert event_passed(event, before, before + laps * 0x1_0000)
        assert event_passed(event, before, before + laps * 0x1_0000 + 3)
        assert not event_passed(event, before, before)


async def lap(manual, queue, count):
    """Serve ``count`` chains of one descriptor without checking for notifications."""
    for number in range(count):
        manual.memory.store(manual.avail + 2, struct.pack("<H", queue._available + 1 & 0xFFFF))
        chain = await queue.next_chain()
        assert chain is not None, number
        await queue.complete(chain, 0)


async def test_device_notifies_after_a_whole_lap():
    """After 65,536 used buffers the index is the same, but a notification is due."""
    manual = ManualQueue(1)
    manual.write_descriptor(0, 0x1000, 4, WRITE)
    queue = manual.device()
    await lap(manual, queue, 5)
    assert await queue.needs_notification()
    await lap(manual, queue, 0x1_0000)
    assert await queue.needs_notification()
    assert not await queue.needs_notification()


async def test_driver_notifies_after_a_whole_lap():
    manual = ManualQueue(1)
    queue = manual.driver(event_index=True)
    for number in range(0x1_0000):
        await queue.add([Buffer(0x1000, 4)], [])
        manual.memory.store(manual.used + 4, struct.pack("<II", 0, 0))
        manual.memory.store(manual.used + 2, struct.pack("<H", number + 1 & 0xFFFF))
        assert len(await queue.collect()) == 1
    assert await queue.needs_kick()
    assert not await queue.needs_kick()
