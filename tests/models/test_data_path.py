# SPDX-License-Identifier: BSD-2-Clause
"""Data transfers between drivers and devices over virtqueues, without a simulator."""

import asyncio
import random

import pytest

from models.devices import (
    BlockDevice,
    ConsoleDevice,
    EntropyDevice,
    FileStorage,
    MemoryStorage,
    NetworkDevice,
)
from models.devices.block import SECTOR
from models.devices.console import F_EMERG_WRITE
from models.driver import QueueError
from models.drivers import (
    BlockDriver,
    BlockError,
    ConsoleDriver,
    EntropyDriver,
    NetworkDriver,
    TransferTimeoutError,
    VirtioDriver,
)
from models.ethernet import NetworkPeer
from models.host_memory import MemoryAccessError, MemoryModel
from models.system import ModelSystem
from models.virtio import RING_FEATURES, Feature
from models.virtqueue import Buffer

LATENCIES = [0.0, 2.0]
RINGS = [RING_FEATURES, Feature.EVENT_IDX.mask, Feature.INDIRECT_DESC.mask, 0]
OWN_IP, PEER_IP = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])
PEER_MAC = bytes.fromhex("020000000099")
IN, OUT, FLUSH, GET_ID, DISCARD = 0, 1, 4, 8, 11


async def probe(system, kind, *, timeout_us=5e6, **options):
    """Bring device 0 up, with a long timeout by default."""
    memory = system.host.memory
    return await kind.probe(system.drivers[0], 0, memory, timeout_us=timeout_us, **options)


@pytest.mark.parametrize("latency", LATENCIES)
@pytest.mark.parametrize("rings", RINGS)
async def test_entropy(rings, latency):
    device = EntropyDevice(source=random.Random(3).randbytes)
    async with ModelSystem([{0: device}], dma_latency_us=latency) as system:
        entropy = await probe(system, EntropyDriver, ring_features=rings, queue_size=4)
        assert bool(entropy.device.features & RING_FEATURES) == bool(rings)
        source = random.Random(3)
        # More requests than descriptors.
        for size in (1, 7, 512, 4096, 33, 64):
            assert await entropy.read(size) == source.randbytes(size)
        assert device.bytes_written == entropy.statistics.bytes_in == 4713
        assert entropy.statistics.requests == 6


@pytest.mark.parametrize("latency", LATENCIES)
@pytest.mark.parametrize("rings", RINGS)
async def test_disk_with_many_requests_in_flight(rings, latency):
    rng = random.Random(5)
    image = rng.randbytes(64 * SECTOR)
    storage = MemoryStorage(bytearray(len(image)))
    system = ModelSystem([{0: BlockDevice(storage=storage)}], dma_latency_us=latency)
    async with system:
        disk = await probe(system, BlockDriver, ring_features=rings, queue_size=8)
        assert await disk.sectors() == 64
        writes = [disk.write(at, image[SECTOR * at : SECTOR * (at + 4)]) for at in range(0, 64, 4)]
        await asyncio.gather(*writes)
        reads = await asyncio.gather(*(disk.read(at, 4) for at in range(0, 64, 4)))
        assert b"".join(reads) == image == storage.contents
        flushes = []
        storage.flush = lambda: flushes.append(True)
        await disk.flush()
        assert flushes == [True] and await disk.serial() == b"virtio-msg-amp"


async def test_disk_in_a_file(tmp_path):
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(8 * SECTOR))
    async with ModelSystem(
        [{0: BlockDevice(storage=FileStorage(path), serial=b"x" * 20)}]
    ) as system:
        disk = await probe(system, BlockDriver)
        await disk.write(3, b"\xa5" * SECTOR)
        await disk.flush()
        assert path.read_bytes() == bytes(3 * SECTOR) + b"\xa5" * SECTOR + bytes(4 * SECTOR)
        assert await disk.read(3, 2) == b"\xa5" * SECTOR + bytes(SECTOR)
        assert await disk.serial() == b"x" * 20
        # The medium fails: the request has an error status, and the device continues.
        path.write_bytes(b"")
        with pytest.raises(BlockError, match="status is 1"):
            await disk.read(0, 1)
        await disk.write(0, bytes(SECTOR))


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"kind": IN, "sector": 0, "response_size": SECTOR}, 0),
        ({"kind": IN, "sector": 15, "response_size": 2 * SECTOR}, 1),
        ({"kind": IN, "sector": 16, "response_size": SECTOR}, 1),
        ({"kind": IN, "sector": 1 << 63, "response_size": SECTOR}, 1),
        ({"kind": IN, "sector": 0, "response_size": SECTOR - 1}, 1),
        ({"kind": OUT, "sector": 15, "data": bytes(SECTOR)}, 0),
        ({"kind": OUT, "sector": 15, "data": bytes(2 * SECTOR)}, 1),
        ({"kind": OUT, "sector": 0, "data": bytes(100)}, 1),
        ({"kind": FLUSH}, 0),
        ({"kind": GET_ID, "response_size": 20}, 0),
        ({"kind": GET_ID, "response_size": 19}, 1),
        ({"kind": DISCARD, "data": bytes(16)}, 2),
        ({"kind": 0xFFFF_FFFF}, 2),
    ],
)
async def test_status_of_every_kind_of_request(request_, status):
    device = BlockDevice(sectors=16)
    async with ModelSystem([{0: device}]) as system:
        disk = await probe(system, BlockDriver)
        if status:
            with pytest.raises(BlockError) as caught:
                await disk.request(**request_)
            assert caught.value.status == status
        else:
            await disk.request(**request_)
        assert device.statuses[status] == 1
        assert device.failure is None


@pytest.mark.parametrize(
    ("kind", "sector", "data", "in_size", "written"),
    [
        (IN, 0, b"", SECTOR, SECTOR + 1),
        (IN, 16, b"", SECTOR, 0),
        (OUT, 0, bytes(SECTOR), 0, 1),
        (OUT, 16, bytes(SECTOR), 0, 1),
        (GET_ID, 0, b"", 30, 20),
    ],
)
async def test_used_length_counts_contiguous_bytes(kind, sector, data, in_size, written):
    """The used length must not include bytes that the device skipped (2.7.8.2).

    The status byte can follow such bytes.
    """
    async with ModelSystem([{0: BlockDevice(sectors=16)}]) as system:
        path, memory = await probe(system, VirtioDriver), system.host.memory
        header = kind.to_bytes(8, "little") + sector.to_bytes(8, "little")
        readable = Buffer(memory.allocate(len(header + data)), len(header + data))
        await memory.write(readable.address, header + data)
        writable = Buffer(memory.allocate(in_size + 1), in_size + 1)
        assert await path.transfer(0, [readable], [writable]) == written


async def test_read_only_disk(tmp_path):
    path = tmp_path / "disk.img"
    path.write_bytes(b"\x11" * SECTOR)
    path.chmod(0o444)
    for storage in (
        MemoryStorage(bytearray(b"\x11" * SECTOR), read_only=True),
        FileStorage(path, read_only=True),
    ):
        async with ModelSystem([{0: BlockDevice(storage=storage)}]) as system:
            disk = await probe(system, BlockDriver)
            assert disk.device.features & 1 << 5
            with pytest.raises(BlockError, match="status is 1"):
                await disk.write(0, bytes(SECTOR))
            assert await disk.read(0, 1) == b"\x11" * SECTOR


def test_invalid_device_parameters_are_refused():
    with pytest.raises(ValueError, match="storage has 513 bytes: must be a multiple of 512"):
        BlockDevice(storage=MemoryStorage(bytearray(513)))
    with pytest.raises(ValueError, match="serial has 21 bytes: must be 20 at most"):
        BlockDevice(serial=bytes(21))
    with pytest.raises(ValueError, match="mac is 5 bytes: must be 6"):
        NetworkDevice(mac=bytes(5))


@pytest.mark.parametrize("latency", LATENCIES)
@pytest.mark.parametrize("rings", RINGS)
async def test_console(rings, latency):
    device, output = ConsoleDevice(), []
    device.output_observers.append(output.append)
    # Input typed before the driver starts is kept.
    device.type(b"early\n")
    async with ModelSystem([{0: device}], dma_latency_us=latency) as system:
        console = await probe(system, ConsoleDriver, ring_features=rings)
        assert await console.read_line() == b"early\n"
        await console.write(b"out\n")
        await console.write(b"and out\n")
        assert output == [b"out\n", b"and out\n"] and device.output == b"out\nand out\n"
        # More input than all buffers hold.
        lines = [b"line %d %s\n" % (n, b"x" * 50) for n in range(60)]
        device.type(b"".join(lines))
        for line in lines:
            assert await console.read_line() == line
        assert device.waiting == 0


async def test_transfer_times_out():
    async with ModelSystem([{0: ConsoleDevice()}]) as system:
        console = await probe(system, ConsoleDriver, timeout_us=2000.0)
        with pytest.raises(TransferTimeoutError, match=r"device 0, queue 0: .* for 2000 us"):
            await console.read_line()


async def test_console_size_and_emergency_output():
    device = ConsoleDevice()
    async with ModelSystem([{0: device}]) as system:
        console = await probe(system, ConsoleDriver)
        assert console.device.info.config_size == 12 and device.offered & F_EMERG_WRITE
        device.resize(132, 43)
        await system.device_side.transports[0].notify_config(0)
        assert (await console.device.wait_config(1e6)).generation == 1
        assert await console.size() == (132, 43)
        await console.device.write_config(8, b"!\0\0\0")
        assert device.output == b"!"


@pytest.mark.parametrize("latency", LATENCIES)
@pytest.mark.parametrize("rings", RINGS)
async def test_ping(rings, latency):
    peer = NetworkPeer(PEER_MAC, PEER_IP)
    device = NetworkDevice(wire=peer.answer)
    async with ModelSystem([{0: device}], dma_latency_us=latency) as system:
        network = await probe(system, NetworkDriver, ring_features=rings)
        assert await network.link_up() and await network.mac() == b"\2\0\0\0\0\1"
        assert await network.resolve(OWN_IP, PEER_IP) == PEER_MAC
        for sequence, size in enumerate((0, 1, 56, 1472)):
            payload = random.Random(size).randbytes(size)
            options = {"sequence": sequence, "payload": payload}
            assert await network.ping(OWN_IP, PEER_MAC, PEER_IP, **options) == payload
        assert (peer.arp_replies, peer.echo_replies, device.sent, device.received) == (1, 4, 5, 5)
        assert device.dropped == 0


async def test_invalid_frames_are_dropped():
    out = []
    device = NetworkDevice(wire=lambda frame: out.append(frame) or [])
    async with ModelSystem([{0: device}]) as system:
        network = await probe(system, NetworkDriver)
        for size, passes in ((13, False), (14, True), (1514, True), (1515, False)):
            out.clear()
            await network.send(bytes(size))
            assert [len(frame) for frame in out] == [size] * passes
        assert device.dropped == 2
        # Offloads that were not negotiated: flags, gso_type.
        address = system.host.memory.allocate(100)
        for header in (b"\1\0", b"\0\1"):
            await system.host.memory.write(address, header)
            await network.transfer(1, [Buffer(address, 100)], ())
        assert device.dropped == 4
        device.deliver(bytes(13))
        device.deliver(bytes(1515))
        assert device.dropped == 6
        device.set_link(False)
        assert not await network.link_up()
        device.deliver(bytes(100))
        await network.send(bytes(100))
        assert device.dropped == 8


async def test_frames_wait_for_buffers_up_to_a_limit():
    device = NetworkDevice()
    for number in range(100):
        device.deliver(bytes([number]) * 60)
    assert device.dropped == 36
    async with ModelSystem([{0: device}]) as system:
        network = await probe(system, NetworkDriver)
        # Bring-up begins with a reset, which drops the frames above.
        device.deliver(b"\x77" * 60)
        assert await network.receive() == b"\x77" * 60


async def test_event_index_reduces_notifications():
    """With an event index, not every used buffer needs a notification."""
    device = BlockDevice(sectors=64)
    async with ModelSystem([{0: device}], dma_latency_us=1.0) as system:
        disk = await probe(system, BlockDriver, timeout_us=1e6)
        before = system.host.interrupts[0]
        kicks = device.queues[0].notifications
        await asyncio.gather(*(disk.read(at, 1) for at in range(32)))
        assert disk.statistics.requests == 32
        assert system.host.interrupts[0] - before < 32
        assert device.queues[0].notifications - kicks < 32


async def test_frame_larger_than_its_buffer_is_dropped():
    device = NetworkDevice()
    async with ModelSystem([{0: device}]) as system:
        path = await probe(system, VirtioDriver)
        for size, written in ((111, 0), (112, 112)):
            transfer = await path.submit(0, (), [Buffer(system.host.memory.allocate(size), size)])
            device.deliver(bytes(100))
            assert await path.finish(0, transfer) == written
        assert (device.dropped, device.received) == (1, 1)


async def test_ping_ignores_other_replies():
    peer = NetworkPeer(PEER_MAC, PEER_IP)
    earlier = []

    def wire(frame):
        replies = peer.answer(frame)
        out = [bytes(60), *earlier, *replies]
        earlier[:] = replies
        return out

    async with ModelSystem([{0: NetworkDevice(wire=wire)}]) as system:
        network = await probe(system, NetworkDriver)
        for sequence in range(3):
            payload = b"number %d" % sequence
            options = {"sequence": sequence, "payload": payload}
            assert await network.ping(OWN_IP, PEER_MAC, PEER_IP, **options) == payload


class YieldingMemory:
    """Host memory that lets other tasks run before each access."""

    def __init__(self, memory):
        self._memory = memory
        self.allocate = memory.allocate

    async def read(self, address, size):
        await asyncio.sleep(0)
        return await self._memory.read(address, size)

    async def write(self, address, data):
        await asyncio.sleep(0)
        await self._memory.write(address, data)


@pytest.mark.parametrize("rings", RINGS)
async def test_concurrent_tasks_share_a_queue(rings):
    device = BlockDevice(sectors=64)
    async with ModelSystem([{0: device}], dma_latency_us=1.0) as system:
        memory = YieldingMemory(system.host.memory)
        options = {"ring_features": rings, "queue_size": 8, "timeout_us": 1e6}
        disk = await BlockDriver.probe(system.drivers[0], 0, memory, **options)
        for _ in range(3):
            await asyncio.gather(*(disk.write(at, bytes([at]) * SECTOR) for at in range(64)))
            got = await asyncio.gather(*(disk.read(at, 1) for at in range(64)))
            assert got == [bytes([at]) * SECTOR for at in range(64)]


async def test_access_outside_an_allocation_fails():
    memory = MemoryModel()
    first, second = memory.allocate(100, 64), memory.allocate(4096)
    assert first % 64 == second % 4096 == 0 and await memory.read(first, 100) == bytes(100)
    await memory.write(first + 90, b"0123456789")
    assert await memory.read(first + 90, 10) == b"0123456789"
    for address, size in ((first - 1, 2), (first + 90, 11), (first + 100, 1), (second, 4097)):
        with pytest.raises(MemoryAccessError, match="must lie in one allocation"):
            await memory.read(address, size)
        with pytest.raises(MemoryAccessError):
            await memory.write(address, bytes(size))
    for size, align, text in (
        (0, 1, "size is 0: must be 1 or more"),
        (1, 3, "align is 3: must be a power of two"),
        (1, 0, "align is 0: must be a power of two"),
    ):
        with pytest.raises(ValueError, match=text):
            memory.allocate(size, align)


async def test_device_without_its_queue_is_refused():
    device = EntropyDevice()
    device.queues = ()
    async with ModelSystem([{0: device}]) as system:
        with pytest.raises(QueueError, match="queue 0"):
            await probe(system, EntropyDriver)
