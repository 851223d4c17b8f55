# SPDX-License-Identifier: BSD-2-Clause
"""Drivers and devices on both sides of the served gateware, with the guest's memory."""

import asyncio
import random

import pytest
from vfio_host import MEMORY_BASE, MEMORY_SIZE, SEED, driver_of, with_host

from models import config_space as space
from models.devices.block import SECTOR
from models.drivers import BlockDriver, ConsoleDriver, EntropyDriver, NetworkDriver
from models.drivers.base import DeviceFailedError
from models.virtio import DeviceStatus
from models.virtqueue import Buffer
from sim.vm.vfio_user import wire
from sim.workload import OWN_IP, PEER_IP, PEER_MAC

CONFIG = wire.CONFIG_REGION
PAGE = 0x1000


def test_disconnect_resets_devices(server):
    async def bring_up(host, driver):
        entropy = await driver.probe(0)
        assert await entropy.status() & DeviceStatus.DRIVER_OK

    async def look(host, driver):
        entropy = await driver.device(0)
        assert await entropy.status() == 0

    with_host(server, bring_up)
    with_host(server, look)


def test_all_devices_transfer_data(server, image):
    """Each device transfers data to and from the guest's memory."""

    async def program(host, driver):
        await driver.ping(0x1234)
        assert await driver.discover() == [0, 1, 2, 3]
        entropy = await EntropyDriver.probe(driver, 0, host.memory)
        data = await entropy.read(600, request_size=300)
        source = random.Random(SEED)
        assert data == source.randbytes(300) + source.randbytes(300)

        disk = await BlockDriver.probe(driver, 1, host.memory)
        content = random.Random(1).randbytes(4 * SECTOR)
        await disk.write(8, content)
        await disk.flush()
        assert await disk.read(8, 4) == content
        assert image.read_bytes()[8 * SECTOR : 12 * SECTOR] == content

        talk = await ConsoleDriver.probe(driver, 2, host.memory)
        await talk.write(b"out\n")
        server.type("in\n")
        assert await talk.read_line() == b"in\n"

        network = await NetworkDriver.probe(driver, 3, host.memory)
        mac = await network.resolve(OWN_IP, PEER_IP)
        assert mac == PEER_MAC
        assert await network.ping(OWN_IP, mac, PEER_IP, sequence=1, payload=b"ping") == b"ping"
        assert host.interrupts[0] > 20 and not host.interrupts[1]

    with_host(server, program)


def test_fifos_have_separate_devices(server):
    async def program(host, driver):
        other = driver_of(host, 1)
        await other.start()
        assert await other.discover() == [0]
        await other.probe(0)
        other.stop()

    with_host(server, program)


def test_access_to_unmapped_memory_is_refused(server):
    """A read of unmapped memory fails in the device; a write is dropped."""

    async def program(host, driver):
        nowhere = Buffer(MEMORY_BASE - 2 * PAGE, 64)
        entropy = await EntropyDriver.probe(driver, 0, host.memory)
        before = bytes(host.memory.bytes)
        assert await entropy.transfer(0, [], [nowhere]) == 64
        after = bytes(host.memory.bytes)
        # Only the rings have changed.
        assert sum(old != new for old, new in zip(before, after, strict=True)) < 32
        talk = await ConsoleDriver.probe(driver, 2, host.memory)
        with pytest.raises(DeviceFailedError):
            await talk.transfer(1, [nowhere], [])
        status = host.client.read32(CONFIG, space.COMMAND)
        assert space.RECEIVED_MASTER_ABORT.of(status)

    with_host(server, program)


def test_unmap_during_transfer_stops_access(server):
    """DMA_UNMAP during a transfer: after its reply, memory is neither read nor written."""
    size = 1 << 18

    async def program(host, driver):
        entropy = await EntropyDriver.probe(driver, 0, host.memory)
        address = host.memory.allocate(size)
        start = address - MEMORY_BASE
        await entropy.submit(0, [], [Buffer(address, size)])
        while not any(host.memory.bytes[start : start + 64]):
            await asyncio.sleep(0)
        host.client.unmap(MEMORY_BASE, MEMORY_SIZE)
        contents = bytes(host.memory.bytes)
        assert not any(contents[start + size - 64 : start + size]), "the transfer was complete"
        await asyncio.sleep(0.3)
        assert bytes(host.memory.bytes) == contents
        # The device continues: its writes are posted, so it sees no error.
        host.client.map(host.memory.file, MEMORY_BASE, MEMORY_SIZE)
        entropy_again = await EntropyDriver.probe(driver, 0, host.memory)
        assert len(await entropy_again.read(64)) == 64

    with_host(server, program)
