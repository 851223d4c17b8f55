# SPDX-License-Identifier: BSD-2-Clause
"""Service of a queue: one task at a time, no access after its end, and draining."""

import asyncio

import pytest
from model_support import settle

from models.devices import ConsoleDevice
from models.devices.service import QueueEndedError, QueueService, RevocableDma
from models.dma import DmaError
from models.runtime import AsyncioRuntime
from models.virtio import Feature


class SlowMemory:
    """Memory whose accesses complete when their ``gates`` are set."""

    def __init__(self):
        self.began = 0
        self.gates = []

    async def read(self, address, size):
        self.began += 1
        self.gates.append(asyncio.Event())
        await self.gates[-1].wait()
        return bytes(size)

    async def write(self, address, data):
        await self.read(address, len(data))


class Link:
    """Device link that records notifications."""

    name = "device under test"

    def __init__(self):
        self.dma = SlowMemory()
        self.runtime = AsyncioRuntime()
        self.notified = []
        self.cancelled = []

    def notify_used(self, queue):
        self.notified.append(queue)

    def cancel_used(self, queue):
        self.cancelled.append(queue)


async def test_no_access_starts_after_the_end():
    link = Link()
    memory, dma = link.dma, RevocableDma(link)
    dma.alive = False
    with pytest.raises(QueueEndedError):
        await dma.read(0, 1)
    with pytest.raises(QueueEndedError):
        await dma.write(0, b"x")
    assert memory.began == 0


async def test_access_completing_after_the_end_raises():
    link = Link()
    memory, dma = link.dma, RevocableDma(link)
    reading = asyncio.create_task(dma.read(0, 1))
    await settle()
    dma.alive = False
    memory.gates[0].set()
    with pytest.raises(QueueEndedError):
        await reading


async def test_drain_waits_for_every_access():
    link = Link()
    memory, dma = link.dma, RevocableDma(link)
    await dma.drain()
    accesses = [asyncio.create_task(dma.read(0, 1)) for _ in range(2)]
    await settle()
    waiting = asyncio.create_task(dma.drain())
    memory.gates[1].set()
    await settle()
    assert not waiting.done()
    memory.gates[0].set()
    await waiting
    await asyncio.gather(*accesses)


class Queue:
    """Queue stub that always needs a notification."""

    async def needs_notification(self):
        return True


def service(link, serve, failures=None):
    async def failed(error):
        failures.append(error)

    return QueueService(link, 3, lambda dma: Queue(), serve, failed)


async def test_wakes_are_served_in_sequence_and_none_is_lost():
    link, at_once, most, rounds = Link(), 0, 0, 0
    gate = asyncio.Event()

    async def serve(index, queue):
        nonlocal at_once, most, rounds
        rounds += 1
        at_once += 1
        most = max(most, at_once)
        await gate.wait()
        at_once -= 1

    first = service(link, serve)
    first.wake()
    await settle()
    # Any number of wakes during a service leads to one more service.
    for _ in range(5):
        first.wake()
    await settle()
    gate.set()
    await settle()
    assert (rounds, most, link.notified) == (2, 1, [3, 3])
    first.wake()
    await settle()
    assert (rounds, most) == (3, 1)


async def test_ended_service_sends_no_notification():
    link, rounds = Link(), 0
    gate = asyncio.Event()

    async def serve(index, queue):
        nonlocal rounds
        rounds += 1
        await gate.wait()

    first = service(link, serve)
    first.wake()
    await settle()
    first.wake()
    first.end()
    gate.set()
    await settle()
    assert (rounds, link.notified, link.cancelled) == (1, [], [3])
    first.wake()
    await settle()
    assert rounds == 1


async def test_only_failures_before_the_end_are_reported():
    failures = []

    async def serve(index, queue):
        raise DmaError("read of 4 bytes")

    first = service(Link(), serve, failures)
    first.wake()
    await settle()
    assert [str(error) for error in failures] == ["read of 4 bytes"]

    async def ends_and_fails(index, queue):
        second.end()
        raise DmaError("read of 4 bytes")

    second = service(Link(), ends_and_fails, failures)
    second.wake()
    await settle()
    assert len(failures) == 1


def bring_up(device, link, features):
    device.attach(link)
    device.offered |= Feature.RING_RESET.mask
    device.write_status(3)
    for index in range(2):
        device.select_word(index, features >> 32 * index & 0xFFFF_FFFF)
    device.write_status(0xB)
    for queue in device.queues:
        queue.configure(size=8, descriptor_addr=0, driver_addr=0, device_addr=0)
    device.write_status(0xF)


async def test_drain_waits_for_queues_that_end_meanwhile():
    """The device is reset while the reset of one of its queues waits for an access."""
    device, link = ConsoleDevice(), Link()
    bring_up(device, link, Feature.VERSION_1.mask | Feature.RING_RESET.mask)
    await settle()
    # Complete the initial reads of both queues.
    for gate in link.dma.gates:
        gate.set()
    await settle()
    link.dma.gates.clear()
    device.type(b"input")
    device.queue_notify(1)
    await settle()
    assert len(link.dma.gates) == 2
    device.reset_queue(0)
    waiting = asyncio.create_task(device.drain())
    await settle()
    device.reset()
    link.dma.gates[0].set()
    await settle()
    assert not waiting.done()
    again = asyncio.create_task(device.drain())
    await settle()
    assert not again.done()
    link.dma.gates[1].set()
    await waiting
    await again
    await device.drain()
