# SPDX-License-Identifier: BSD-2-Clause
"""Driver bus over a FIFO: its accesses, and when it waits."""

import asyncio

import pytest
from model_support import settle

from models.bus import BusError, BusTimeoutError, Direction, FifoDriverBus
from models.endpoint import Endpoint
from models.runtime import AsyncioRuntime
from models.shell import PciShell
from models.spsc import SlotSizeError
from models.system import EndpointHost, EndpointPort


class LoggedHost(EndpointHost):
    """Host that logs every access and lets other tasks run during it."""

    def __init__(self, endpoint, runtime):
        super().__init__(endpoint, runtime)
        self.enable()
        self.log = []

    async def bar_read(self, bar, offset, size):
        self.log.append(("read", bar, offset, size))
        data = await super().bar_read(bar, offset, size)
        await asyncio.sleep(0)
        return data

    async def bar_write(self, bar, offset, data):
        self.log.append(("write", bar, offset, bytes(data)))
        await asyncio.sleep(0)
        await super().bar_write(bar, offset, data)


def build(num_fifos=1, fifo=0, **parameters):
    runtime = AsyncioRuntime()
    endpoint = Endpoint(num_fifos)
    host = LoggedHost(endpoint, runtime)
    return endpoint, host, FifoDriverBus(host, fifo, runtime, **parameters)


@pytest.mark.parametrize("fifo", [0, 2])
async def test_accesses_of_a_message_in_each_direction(fifo):
    endpoint, host, bus = build(4, fifo)
    driver, device = fifo * 0x4000 + 0x1000, fifo * 0x4000 + 0x2000
    await bus.open()
    assert host.log == [
        ("read", 1, driver + 0x40, 4),
        ("read", 1, driver, 4),
        ("read", 1, device + 0x40, 4),
        ("read", 1, device, 4),
    ]
    host.log.clear()
    await bus.send(b"m" * 48)
    assert host.log == [
        ("read", 1, driver, 4),
        ("write", 1, driver + 0x80, b"m" * 48 + bytes(16)),
        ("write", 1, driver, b"\1\0\0\0"),
        ("write", 0, 0x20 + 4 * fifo, b"\1\0\0\0"),
    ]
    host.log.clear()
    endpoint.push(fifo, b"n" * 8)
    assert await bus.recv() == b"n" * 8 + bytes(56)
    assert host.log == [
        ("read", 1, device + 0x40, 4),
        ("read", 1, device, 4),
        ("read", 1, device + 0x80, 64),
        ("write", 1, device + 0x40, b"\1\0\0\0"),
    ]


async def test_nothing_is_received_without_an_interrupt():
    endpoint, host, bus = build()
    await bus.open()
    endpoint.config_write(0x50, 0)
    endpoint.push(0, b"x" * 8)
    receiving = asyncio.create_task(bus.recv())
    await settle()
    assert not receiving.done()
    assert all(
        access[0] == "write" or access[2] in (0x1000, 0x1040, 0x2000, 0x2040) for access in host.log
    )
    endpoint.config_write(0x50, 1 << 31)
    assert (await receiving)[:8] == b"x" * 8


async def test_one_interrupt_drains_the_queue():
    endpoint, _, bus = build()
    await bus.open()
    endpoint.config_write(0x50, 0)
    for n in range(5):
        endpoint.push(0, bytes([n]) * 8)
    endpoint.config_write(0x50, 1 << 31)
    assert [(await bus.recv())[0] for _ in range(5)] == [0, 1, 2, 3, 4]


async def test_message_between_drain_and_wait_is_received():
    endpoint, _, bus = build()
    await bus.open()
    for n in range(200):
        receiving = asyncio.create_task(bus.recv())
        await settle(n % 8)
        endpoint.push(0, bytes([n]) * 8)
        assert (await receiving)[0] == n


async def test_send_to_a_full_queue_polls_tail():
    endpoint, host, bus = build()
    port = EndpointPort(endpoint, AsyncioRuntime())
    await bus.open()
    for n in range(61):
        await bus.send(bytes([n]) * 8)
    assert ("read", 1, 0x1040, 4) not in host.log[4:]
    waiting = asyncio.create_task(bus.send(b"the 62nd"))
    await asyncio.sleep(0.002)
    assert not waiting.done()
    assert ("read", 1, 0x1040, 4) in host.log[4:]
    assert (await port.receive())[1][:1] == b"\0"
    await waiting
    rest = [(await port.receive())[1][:8] for _ in range(61)]
    assert rest == [bytes([n]) * 8 for n in range(1, 61)] + [b"the 62nd"]


async def test_send_to_a_queue_that_stays_full_times_out():
    _, host, bus = build(send_timeout_us=500)
    await bus.open()
    for _ in range(61):
        await bus.send(bytes(8))
    rung = sum(access[1] == 0 for access in host.log)
    with pytest.raises(BusTimeoutError, match="driver queue of FIFO 0 is full for 500 us"):
        await bus.send(bytes(8))
    assert sum(access[1] == 0 for access in host.log) == rung


async def test_concurrent_sends_do_not_share_a_slot():
    endpoint, _, bus = build()
    await bus.open()
    await asyncio.gather(*(bus.send(bytes([n]) * 8) for n in range(40)))
    slots = []
    while (message := endpoint.pop()) is not None:
        slots.append(message[1][0])
    assert sorted(slots) == list(range(40))


async def test_clear_zeroes_both_queues():
    endpoint, _, bus = build(2, 1)
    await bus.open()
    for n in range(5):
        await bus.send(bytes([n + 1]) * 8)
        endpoint.push(1, bytes([n + 1]) * 8)
    endpoint.push(0, b"f" * 8)
    endpoint.pop()
    await bus.clear()
    assert endpoint.ram[0x5000:0x7000] == bytes(0x2000)
    assert endpoint.ram[0x2000] == 1
    assert endpoint.pop() is None
    await bus.send(b"n" * 8)
    assert endpoint.pop() == (1, b"n" * 8 + bytes(56))
    endpoint.push(1, b"o" * 8)
    assert (await bus.recv())[:8] == b"o" * 8


async def test_observers_see_both_directions():
    endpoint, _, bus = build()
    seen = []
    bus.observers.append(lambda *message: seen.append(message))
    await bus.open()
    await bus.send(b"a" * 8)
    endpoint.push(0, b"b" * 8)
    await bus.recv()
    assert seen == [
        (Direction.TO_DEVICE, 0, b"a" * 8),
        (Direction.TO_DRIVER, 0, b"b" * 8 + bytes(56)),
    ]


async def test_fifos_that_share_a_vector_all_wake():
    shell = PciShell(name="one vector", vectors=1)
    runtime, endpoint = AsyncioRuntime(), Endpoint(2, shell)
    host = LoggedHost(endpoint, runtime)
    buses = [FifoDriverBus(host, fifo, runtime, shell=shell) for fifo in (0, 1)]
    for bus in buses:
        await bus.open()
    receiving = [asyncio.create_task(bus.recv()) for bus in buses]
    await settle()
    endpoint.push(1, b"1" * 8)
    await settle()
    endpoint.push(0, b"0" * 8)
    assert [(await task)[:1] for task in receiving] == [b"0", b"1"]


async def test_parameters_are_checked():
    with pytest.raises(BusError, match="fifo is 2: must be 0 to 1"):
        build(2, 2)
    _, _, bus = build()
    await bus.open()
    with pytest.raises(SlotSizeError, match="size is 65: must be 1 to 64"):
        await bus.send(bytes(65))
