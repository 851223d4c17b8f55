# SPDX-License-Identifier: BSD-2-Clause
"""The demo's data chapters: each device transfers data over virtqueues in host memory.

Each comparison spans the gateware: data that a device was given or holds, against data that the
driver sent or found in its own memory.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any

import cocotb

from models.devices import (
    BlockDevice,
    ConsoleDevice,
    EntropyDevice,
    MemoryStorage,
    NetworkDevice,
    VirtioDevice,
)
from models.devices.block import SECTOR
from models.drivers import BlockDriver, ConsoleDriver, EntropyDriver, NetworkDriver, VirtioDriver
from models.ethernet import NetworkPeer
from testbench.system import GatewareSystem

from ...workload import (
    OWN_IP,
    PEER_IP,
    PEER_MAC,
    PING_BYTES,
    PINGS,
    PRINTED,
    RNG_BYTES,
    RNG_REQUEST,
    SECTORS,
    TYPED,
)
from .events import EventWriter

ENTROPY, BLOCK, CONSOLE, NETWORK = 0, 1, 3, 4
"""Device numbers, with a gap: drivers must follow the bitmap."""
DRIVERS: dict[int, type[VirtioDriver]] = {
    ENTROPY: EntropyDriver,
    BLOCK: BlockDriver,
    CONSOLE: ConsoleDriver,
    NETWORK: NetworkDriver,
}
SECTORS_AT_ONCE = 8
SHOWN_MESSAGES = 6
"""Messages of a data chapter that are printed; the trace has all of them."""


@dataclass
class Totals:
    """Totals of the data chapters of all FIFOs."""

    rng_bytes: int = 0
    blk_bytes: int = 0
    blk_sha256_ok: bool = True
    console_ok: bool = True
    pings_ok: int = 0


class DemoDevices:
    """The devices of a FIFO, with access to their contents.

    Parameters
    ----------
    seed
        Seed of the entropy source and of the disk image.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.disk = MemoryStorage(bytearray(SECTOR * SECTORS))
        self.console = ConsoleDevice()
        self.peer = NetworkPeer(PEER_MAC, PEER_IP)
        self.devices: dict[int, VirtioDevice] = {
            ENTROPY: EntropyDevice(source=random.Random(seed).randbytes),
            BLOCK: BlockDevice(storage=self.disk),
            CONSOLE: self.console,
            NETWORK: NetworkDevice(wire=self.peer.answer),
        }


class DataChapters:
    """Transfers data with each device of one FIFO, one chapter for each device.

    Parameters
    ----------
    events
        Receives the events.
    system
        The running system.
    devices_of_fifo
        The FIFO's devices.
    fifo
        Number of the FIFO.
    where
        Suffix of chapter titles that names the FIFO.
    totals
        Totals to add to.
    """

    def __init__(
        self,
        events: EventWriter,
        system: GatewareSystem,
        devices_of_fifo: DemoDevices,
        fifo: int,
        where: str,
        totals: Totals,
    ) -> None:
        self._events = events
        self._system = system
        self._devices = devices_of_fifo
        self._fifo = fifo
        self._where = where
        self._totals = totals

    async def run(self, drivers: dict[int, VirtioDriver]) -> None:
        """Run all chapters; ``drivers`` has the driver of each device."""
        entropy, block = drivers[ENTROPY], drivers[BLOCK]
        console, network = drivers[CONSOLE], drivers[NETWORK]
        assert isinstance(entropy, EntropyDriver) and isinstance(block, BlockDriver)
        assert isinstance(console, ConsoleDriver) and isinstance(network, NetworkDriver)
        await self._chapter(
            "Entropy",
            f"The driver asks for {RNG_BYTES:,} random bytes. The device writes them and the used "
            "ring to host memory as a bus master, then sends EVENT_USED.",
            entropy,
            lambda: self._read_entropy(entropy),
        )
        await self._chapter(
            "Disk",
            f"The driver writes an image of {SECTORS} sectors, {SECTORS_AT_ONCE} sectors per "
            "request, several requests at once, and reads it back.",
            block,
            lambda: self._copy_disk(block),
        )
        await self._chapter(
            "Console",
            "The driver sends a line to the console and receives one.",
            console,
            lambda: self._exchange_lines(console),
        )
        await self._chapter(
            "Network",
            f"ARP finds the peer behind the network device; the peer answers {PINGS} pings.",
            network,
            lambda: self._ping(network),
        )

    async def _chapter(
        self, title: str, text: str, driver: VirtioDriver, work: Callable[[], Awaitable[str]]
    ) -> None:
        system, events = self._system, self._events
        events.chapter(f"{title}{self._where}", text)
        before = asdict(driver.statistics)
        cycles = system.cycles
        interrupts = sum(system.host.interrupts.values())
        events.limit_messages(SHOWN_MESSAGES)
        outcome = await work()
        events.show_messages()
        transferred = {key: value - before[key] for key, value in asdict(driver.statistics).items()}
        events.write(
            "work",
            fifo=self._fifo,
            device=title.lower(),
            outcome=outcome,
            interrupts=sum(system.host.interrupts.values()) - interrupts,
            cycles=system.cycles - cycles,
            **transferred,
        )

    async def _read_entropy(self, entropy: EntropyDriver) -> str:
        data = await entropy.read(RNG_BYTES, request_size=RNG_REQUEST)
        # A separate source with the same seed, read in the same pieces.
        entropy_source = random.Random(self._devices.seed)
        expected = b"".join(
            entropy_source.randbytes(RNG_REQUEST) for _ in range(RNG_BYTES // RNG_REQUEST)
        )
        assert data == expected, "the random bytes differ from the source's"
        self._totals.rng_bytes += len(data)
        return "all bytes equal those of the entropy source"

    async def _copy_disk(self, block: BlockDriver) -> str:
        image = random.Random(self._devices.seed + 1).randbytes(SECTOR * SECTORS)
        assert await block.sectors() == SECTORS
        starts = range(0, SECTORS, SECTORS_AT_ONCE)
        size = SECTOR * SECTORS_AT_ONCE
        writes = [
            cocotb.start_soon(block.write(at, image[SECTOR * at : SECTOR * at + size]))
            for at in starts
        ]
        for write in writes:
            await write
        await block.flush()
        reads = [cocotb.start_soon(block.read(at, SECTORS_AT_ONCE)) for at in starts]
        read_back = b"".join([await read for read in reads])
        digests = {
            hashlib.sha256(data).hexdigest()
            for data in (image, read_back, self._devices.disk.contents)
        }
        self._totals.blk_bytes += len(image)
        self._totals.blk_sha256_ok &= len(digests) == 1
        assert len(digests) == 1, "image, disk and data read back differ"
        return f"SHA-256 of image, disk and data read back: {digests.pop()[:16]}…"

    async def _exchange_lines(self, console: ConsoleDriver) -> str:
        await console.write(PRINTED)
        self._devices.console.type(TYPED)
        line = await console.read_line()
        ok = self._devices.console.output == PRINTED and line == TYPED
        self._totals.console_ok &= ok
        assert ok, "a console line was lost or changed"
        return f"“{PRINTED.decode().strip()}” “{line.decode().strip()}”"

    async def _ping(self, network: NetworkDriver) -> str:
        mac = await network.resolve(OWN_IP, PEER_IP)
        assert mac == PEER_MAC, "ARP found another MAC address"
        generator = random.Random(self._devices.seed + 2)
        for sequence in range(1, PINGS + 1):
            payload = generator.randbytes(PING_BYTES)
            reply = await network.ping(OWN_IP, mac, PEER_IP, sequence=sequence, payload=payload)
            assert reply == payload, f"ping {sequence} came back changed"
            self._totals.pings_ok += 1
        return f"{PINGS} of {PINGS} pings answered by {mac.hex(':')}"


def figures(system: GatewareSystem, totals: Totals) -> dict[str, Any]:
    """The report's data figures: totals, and bytes that crossed the DMA window."""
    statistics = system.dma.statistics
    return {
        **asdict(totals),
        "dma_read_bytes": statistics.bytes_read,
        "dma_write_bytes": statistics.bytes_written,
    }
