# SPDX-License-Identifier: BSD-2-Clause
"""FIFOs of the endpoint: their queues, doorbells, resets and life cycle.

Tests that need the gateware are in ``tests/regressions/defects.py``.
"""

import asyncio

import pytest
from model_support import settle
from raw_guest import CONSOLE, ENTROPY, Guest, open_guest, padded, queues_of, slot

from models.config_space import DEVICE_CONTROL, INITIATE_FLR
from models.devices import BlockDevice, ConsoleDevice, EntropyDevice
from models.driver import Driver
from models.drivers import EntropyDriver
from models.layout import SPSC_PAGES
from models.messages import decode, request
from models.shell import AMP_PCI
from models.system import ModelSystem
from models.transport import Drop
from models.virtio import Feature

QUEUE = SPSC_PAGES.queue
FULL = QUEUE.capacity - 1


async def test_fifo_without_devices_can_be_reset():
    """A FIFO without devices can be reset, and its bus then responds."""
    async with ModelSystem([{}]) as system:
        for _ in range(3):
            system.endpoint.config_write(DEVICE_CONTROL, INITIATE_FLR.mask)
            system.endpoint.hot_reset()
            system.host.enable()
        system.drivers[0].stop()
        guest = Guest(system)
        assert await guest.exchange("0202 0000 0700 0c00 0000 2000") == [
            padded("0302 0000 0700 1200 0000 2000 0000 00000000")
        ]
        await guest.check_works()


async def test_every_fifo_has_its_own_queues():
    """A message in a FIFO reaches its devices and does not change the RAM of other FIFOs."""
    kinds = [EntropyDevice, ConsoleDevice, BlockDevice, EntropyDevice]
    async with ModelSystem([{0: kind()} for kind in kinds]) as system:
        for driver in system.drivers:
            driver.stop()
        ram = system.endpoint.ram
        for fifo, kind in enumerate(kinds):
            stride = SPSC_PAGES.fifo_stride
            others = bytes(ram[: fifo * stride]), bytes(ram[(fifo + 1) * stride :])
            await system.buses[fifo].send(slot("0002 0000 0100 0800"))
            answer = decode(await system.buses[fifo].recv())
            assert answer.device_id == kind.device_id
            assert others == (bytes(ram[: fifo * stride]), bytes(ram[(fifo + 1) * stride :]))
            assert system.host.interrupts == {n: int(n <= fifo) for n in range(len(kinds))}


async def test_full_device_queue_loses_nothing():
    """61 responses fit. Further ones wait without an interrupt, none lost and all in order."""
    async with open_guest() as guest:
        requests = 2 * FULL
        for token in range(requests):
            await guest.send(request("GET_DEVICE_STATUS", token=token).wire())
        await settle(200)
        assert not guest.system.endpoint.device_queue_ready(0)
        assert guest.interrupts == FULL
        for token in range(requests):
            assert decode(await guest.receive()).token == token
        assert guest.interrupts == requests


async def test_zeroed_queues_bring_no_old_messages():
    """After the pages are zeroed, exactly the messages sent afterwards are received."""
    async with open_guest() as guest:
        assert len(await guest.exchange(*["0007 0000 0100 0800"] * 4)) == 4
        await guest.system.buses[0].clear()
        received = guest.transport.received
        await guest.send("0007 0000 0100 0800")
        assert (await guest.receive())[:2] == b"\1\7"
        assert guest.transport.received == received + 1
        to_device, to_driver = queues_of(guest.system)
        assert to_device.recv(64) is to_driver.recv(64) is None
        assert await guest.exchange() == []


async def test_reset_empties_the_queues():
    """A function reset drops the pending messages in both directions."""
    async with open_guest() as guest:
        endpoint = guest.system.endpoint
        for token in range(2 * FULL):
            await guest.send(request("SET_DEVICE_STATUS", token=token, status=1).wire())
        await settle(200)
        received = guest.transport.received
        assert FULL <= received < 2 * FULL
        endpoint.config_write(DEVICE_CONTROL, INITIATE_FLR.mask)
        guest.system.host.enable()
        await guest.system.buses[0].open()
        await settle(200)
        assert guest.transport.received == received
        assert guest.transport.devices[ENTROPY].status == 0
        assert await guest.exchange() == []


async def test_indices_are_little_endian_words():
    """An index has four bytes, lowest first; the other bytes of its 64 are not written."""
    async with open_guest() as guest:
        ram, layout = guest.system.endpoint.ram, guest.system.endpoint.layout
        lines = [
            base + offset
            for base in (layout.driver_queue_base(0), layout.device_queue_base(0))
            for offset in (QUEUE.head_offset, QUEUE.tail_offset)
        ]
        for line in lines:
            ram[line + 4 : line + 64] = b"\xa5" * 60
        for count in range(1, 2 * QUEUE.capacity):
            await guest.exchange()
            word = bytes([count % QUEUE.capacity, 0, 0, 0]) + b"\xa5" * 60
            assert [bytes(ram[line : line + 64]) for line in lines] == [word] * 4


async def test_concurrent_producers_do_not_share_a_slot():
    """Concurrent responses and events do not share a slot."""
    async with open_guest() as guest:
        await guest.bring_up(CONSOLE)
        tokens = range(1, 41)
        await asyncio.gather(
            *(guest.send(request("GET_DEVICE_STATUS", token=token).wire()) for token in tokens),
            *(guest.transport.notify_config(CONSOLE) for _ in tokens),
        )
        got = [decode(await guest.receive()) for _ in range(2 * len(tokens))]
        assert sorted(message.token for message in got if message.token) == list(tokens)
        assert sum(message.name == "EVENT_CONFIG" for message in got) == len(tokens)


async def test_doorbell_covers_the_messages_present():
    """A doorbell covers the messages present at that time; another FIFO is served meanwhile."""
    async with ModelSystem([{0: EntropyDevice()}, {0: EntropyDevice()}]) as system:
        system.drivers[0].stop()
        endpoint, refills = system.endpoint, []
        to_device, to_driver = queues_of(system)
        ask = slot("0007 0000 0100 0800")

        def refill(*_):
            # For each message popped, push one and receive a response.
            if len(refills) < 1000 and to_device.send(ask):
                refills.append(1)
            to_driver.recv(64)

        system.device_side.observers.append(refill)
        for _ in range(20):
            assert to_device.send(ask)
        endpoint.bar_write(AMP_PCI.register_bar, AMP_PCI.notify(0), b"\1\0\0\0")
        await system.drivers[1].ping()
        await settle(1000)
        assert system.device_side.transports[0].received == 20
        assert len(refills) >= 20


async def test_doorbells_of_a_fifo_without_devices():
    """A FIFO without devices drops its messages, without an effect on the other FIFOs."""
    async with open_guest({}, {0: EntropyDevice()}) as guest:
        system = guest.system
        for _ in range(100):
            system.endpoint.bar_write(AMP_PCI.register_bar, AMP_PCI.notify(0), b"\1\0\0\0")
        await guest.dropped("0002 0000 0100 0800", Drop.NO_DEVICE)
        await guest.dropped("0041 0000 0000 1000 00000000 00000000", Drop.NO_DEVICE)
        assert (await system.drivers[1].probe(0)).info.device_id == 4


@pytest.mark.parametrize("num_fifos", range(1, 9))
async def test_any_number_of_fifos_works(num_fifos):
    """BAR1 is rounded up to a power of two. Every FIFO works, and the rest is RAM."""
    async with ModelSystem([{0: EntropyDevice()} for _ in range(num_fifos)]) as system:
        size = system.endpoint.bar_sizes[AMP_PCI.fifo_bar]
        assert size & size - 1 == 0
        assert num_fifos * 0x4000 <= size < 2 * num_fifos * 0x4000
        for driver in system.drivers:
            assert await driver.discover() == [0]
        last = size - 4
        await system.host.bar_write(AMP_PCI.fifo_bar, last, b"\1\2\3\4")
        assert await system.host.bar_read(AMP_PCI.fifo_bar, last, 4) == b"\1\2\3\4"


async def test_access_platform_is_negotiated():
    """Every device offers ACCESS_PLATFORM, the driver accepts it, and data is transferred."""
    async with open_guest() as guest:
        driver, memory = (
            Driver(guest.system.buses[0], guest.system.runtime),
            guest.system.host.memory,
        )
        async with driver:
            for number in guest.transport.devices:
                device = await driver.device(number)
                assert await device.offered_features() & Feature.ACCESS_PLATFORM.mask
            path = await EntropyDriver.probe(driver, ENTROPY, memory)
            assert path.device.features & Feature.ACCESS_PLATFORM.mask
            assert len(await path.read(64)) == 64
            path.stop()


async def test_stop_leaves_no_task():
    """A system stopped at any time leaves no task and can be started again."""
    before = asyncio.all_tasks()
    devices = [{0: EntropyDevice(), 1: ConsoleDevice()}]
    for rounds in range(8):
        system = ModelSystem(devices)
        async with system:
            if rounds % 2:
                assert await system.drivers[0].discover() == [0, 1]
            for token in range(rounds * 20):
                await system.buses[0].send(request("GET_DEVICE_STATUS", token=token).wire())
        await settle()
        assert asyncio.all_tasks() == before
