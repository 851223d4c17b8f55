# SPDX-License-Identifier: BSD-2-Clause
"""Drivers and devices move data over virtqueues in host memory, on several FIFOs."""

import os
import random

import cocotb
from cocotb.task import Task

from models.devices import (
    BlockDevice,
    ConsoleDevice,
    EntropyDevice,
    MemoryStorage,
    NetworkDevice,
)
from models.devices.block import SECTOR
from models.drivers import BlockDriver, ConsoleDriver, EntropyDriver, NetworkDriver
from models.ethernet import NetworkPeer
from models.virtio import RING_FEATURES, DeviceStatus, Feature
from testbench.host.read_completions import Split
from testbench.stream import pacing
from testbench.system import GatewareSystem
from tests.regressions.dma_host import (
    ABOVE_4G,
    SEED,
    channel_pauses,
    run_immediately,
    slow_latencies,
)

RINGS = [RING_FEATURES, 0, Feature.EVENT_IDX.mask, Feature.INDIRECT_DESC.mask]
SECTORS = 24
OWN_IP, PEER_IP = b"\x0a\0\0\1", b"\x0a\0\0\2"
PEER_MAC = b"\x02\0\0\0\0\x99"
ENTROPY, BLOCK, CONSOLE, NETWORK = 0, 5, 6, 31


class Machine:
    """Devices of a FIFO and their expected contents."""

    def __init__(self, fifo, seed):
        self.seed = seed
        self.disk = bytearray(random.Random(seed).randbytes(SECTOR * SECTORS))
        self.peer = NetworkPeer(PEER_MAC, PEER_IP)
        self.console = ConsoleDevice(cols=80 + fifo)
        self.devices = {
            ENTROPY: EntropyDevice(source=random.Random(seed).randbytes),
            BLOCK: BlockDevice(storage=MemoryStorage(self.disk), serial=b"disk %d" % fifo),
            CONSOLE: self.console,
            NETWORK: NetworkDevice(wire=self.peer.answer),
        }


async def use_devices(system, machine, fifo, *, ring_features, accesses):
    """Use the four devices of a FIFO and check their data."""
    rng = random.Random(machine.seed + 1)
    driver, memory = system.drivers[fifo], system.host.memory
    options = {"ring_features": ring_features, "queue_size": rng.choice([16, 32, 64])}
    entropy = await EntropyDriver.probe(driver, ENTROPY, memory, **options)
    block = await BlockDriver.probe(driver, BLOCK, memory, **options)
    console = await ConsoleDriver.probe(driver, CONSOLE, memory, **options)
    network = await NetworkDriver.probe(driver, NETWORK, memory, **options)

    source = random.Random(machine.seed)
    sizes = [rng.randint(1, 700) for _ in range(4)]
    for size in sizes:
        assert await entropy.read(size) == source.randbytes(size)

    assert await block.sectors() == SECTORS and await block.serial() == b"disk %d" % fifo
    image = bytearray(machine.disk)
    for _ in range(accesses):
        count = rng.randint(1, 8)
        sector = rng.randrange(SECTORS - count + 1)
        data = rng.randbytes(SECTOR * count)
        await block.write(sector, data)
        image[SECTOR * sector : SECTOR * (sector + count)] = data
    reads = [cocotb.start_soon(block.read(at, 8)) for at in range(0, SECTORS, 8)]
    assert b"".join([await read for read in reads]) == image == machine.disk
    await block.flush()

    await console.write(b"hello from FIFO %d\n" % fifo)
    assert machine.console.output == b"hello from FIFO %d\n" % fifo
    machine.console.type(b"and back\n" * 30)
    for _ in range(30):
        assert await console.read_line() == b"and back\n"
    assert await console.size() == (80 + fifo, 25)

    assert await network.resolve(OWN_IP, PEER_IP) == PEER_MAC
    for sequence in range(3):
        payload = rng.randbytes(rng.randint(0, 1400))
        got = await network.ping(OWN_IP, PEER_MAC, PEER_IP, sequence=sequence, payload=payload)
        assert got == payload
    assert machine.peer.echo_replies == 3
    return [entropy, block, console, network]


async def run(dut, *, rings=(RING_FEATURES,), accesses=3, **options):
    rng = random.Random(SEED)
    num_fifos = options.pop("num_fifos")
    # The first, the last and one between: three are enough to show effects between FIFOs.
    machines = {
        fifo: Machine(fifo, rng.getrandbits(32)) for fifo in {0, num_fifos // 2, num_fifos - 1}
    }
    devices = [machines[fifo].devices if fifo in machines else {} for fifo in range(num_fifos)]
    system = GatewareSystem(dut, devices, **options)
    await system.start()
    tasks: list[Task] = [
        cocotb.start_soon(
            use_devices(
                system, machine, fifo, ring_features=rings[position % len(rings)], accesses=accesses
            )
        )
        for position, (fifo, machine) in enumerate(machines.items())
    ]
    for task in tasks:
        for virtio_driver in await task:
            assert await virtio_driver.device.status() & DeviceStatus.DRIVER_OK
            virtio_driver.stop()
    for machine in machines.values():
        assert not any(device.failure for device in machine.devices.values())
    await system.finish()
    return system


def fifos():
    return int(os.environ["NUM_FIFOS"])


@cocotb.test(timeout_time=50, timeout_unit="ms")
@cocotb.parametrize(first=[0, 1])
async def four_devices(dut, first):
    """Four devices per FIFO; event index and indirect descriptors differ between FIFOs."""
    await run(dut, rings=RINGS[2 * first :] + RINGS[: 2 * first], num_fifos=fifos())


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def slow_host_with_pauses(dut):
    """A host that answers late and in pieces, memory above 4 GiB, pauses on every stream."""
    rng = random.Random(SEED)
    await run(
        dut,
        num_fifos=fifos(),
        accesses=2,
        host_idle=pacing.randomly(rng.getrandbits(32), 0.2),
        host_stall=pacing.randomly(rng.getrandbits(32), 0.3),
        device_idle=pacing.randomly(rng.getrandbits(32), 0.2),
        device_stall=pacing.randomly(rng.getrandbits(32), 0.3),
        dma_pauses=channel_pauses(rng, 0.2),
        memory_options={
            "latency": slow_latencies(rng, tail=0.05),
            "split": Split.RANDOM,
            "base": ABOVE_4G,
        },
    )


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def interrupt_follows_used_ring_and_data(dut):
    """At the interrupt of EVENT_USED, the used ring and the data are in host memory."""
    rng = random.Random(SEED)
    machine = Machine(0, rng.getrandbits(32))
    machines = [machine] + [Machine(fifo, 0) for fifo in range(1, fifos())]
    system = GatewareSystem(
        dut,
        [machine.devices for machine in machines],
        host_stall=pacing.randomly(rng.getrandbits(32), 0.6, 8),
    )
    await system.start()
    memory = system.host.memory
    entropy = await EntropyDriver.probe(system.drivers[0], ENTROPY, memory)
    ring = entropy.device.rings[0]
    used_indices = []

    def interrupted(vector):
        header = run_immediately(memory.read(ring.device_addr, 4))
        used_indices.append(int.from_bytes(header[2:], "little"))

    system.host.on_interrupt.append(interrupted)
    source = random.Random(machine.seed)
    for number in range(1, 20):
        size = rng.randint(1, 900)
        assert await entropy.read(size) == source.randbytes(size)
        assert used_indices[-1] == number, "the interrupt passed the write of the used ring"
    entropy.stop()
    await system.finish()
