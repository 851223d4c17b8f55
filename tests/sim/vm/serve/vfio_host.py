# SPDX-License-Identifier: BSD-2-Clause
"""A host without QEMU that accesses the endpoint through vfio-user, for the drivers of models/."""

import asyncio
import mmap
import os
import tempfile
from pathlib import Path

from models.bus import FifoDriverBus, InterruptLog
from models.config_space import BUS_MASTER_ENABLE, COMMAND, MEMORY_SPACE_ENABLE, MSIX_ENABLE
from models.dma import PAGE
from models.driver import Driver, RingAllocator
from models.runtime import AsyncioRuntime
from sim.vm.vfio_user import wire
from sim.vm.vfio_user.client import Client

MEMORY_BASE, MEMORY_SIZE = 1 << 32, 1 << 20
SEED = 7
"""Seed of the entropy device."""
PATIENCE = 1000
"""Factor of time limits, which models/ has in simulated microseconds; here real time counts."""


class PatientRuntime(AsyncioRuntime):
    """asyncio with longer time limits."""

    async def wait(self, event, timeout_us=None):
        return await super().wait(event, None if timeout_us is None else PATIENCE * timeout_us)


class GuestMemory:
    """Implements ``models.dma.HostMemory`` in a file that the server also accesses."""

    def __init__(self):
        self.file = os.memfd_create("guest")
        os.ftruncate(self.file, MEMORY_SIZE)
        self.bytes = mmap.mmap(self.file, MEMORY_SIZE)
        self._next = 0

    def allocate(self, size, align=PAGE):
        start = -(-self._next // align) * align
        self._next = start + size
        assert self._next <= MEMORY_SIZE, "the guest has no more memory"
        return MEMORY_BASE + start

    async def read(self, address, size):
        return self.bytes[address - MEMORY_BASE :][:size]

    async def write(self, address, data):
        start = address - MEMORY_BASE
        self.bytes[start : start + len(data)] = data

    def close(self):
        self.bytes.close()
        os.close(self.file)


class VfioHost:
    """Implements ``models.bus.HostFunction``; needs a running event loop."""

    def __init__(self, path):
        self.client = Client(path)
        self.memory = GuestMemory()
        self.client.map(self.memory.file, MEMORY_BASE, MEMORY_SIZE)
        self._interrupts = InterruptLog(asyncio.Event)
        self.interrupts = self._interrupts.counts
        # The shell has one vector for each FIFO.
        self.num_fifos = self.client.irq_info(wire.Irq.MSIX)[1]
        self._signals = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(self.num_fifos)]
        for vector, signal in enumerate(self._signals):
            self.interrupts[vector] = 0
            asyncio.get_running_loop().add_reader(signal, self._signalled, vector)
        self.enable()

    def enable(self):
        """Enable memory space, bus mastering and MSI-X, as software does."""
        client = self.client
        command = MEMORY_SPACE_ENABLE.mask | BUS_MASTER_ENABLE.mask
        client.write(wire.CONFIG_REGION, COMMAND, command.to_bytes(2, "little"))
        client.write32(wire.CONFIG_REGION, MSIX_ENABLE.offset, MSIX_ENABLE.mask)
        client.assign(0, self._signals)

    async def bar_read(self, bar, offset, size):
        # Let other tasks run: the client's wait for the server blocks the event loop.
        await asyncio.sleep(0)
        return self.client.read(bar, offset, size)

    async def bar_write(self, bar, offset, data):
        self.client.write(bar, offset, data, posted=True)

    def interrupt(self, vector):
        return self._interrupts.event(vector)

    def close(self):
        for signal in self._signals:
            asyncio.get_running_loop().remove_reader(signal)
            os.close(signal)
        self.client.close()
        self.memory.close()

    def _signalled(self, vector):
        for _ in range(os.eventfd_read(self._signals[vector])):
            self._interrupts.record(vector)


def driver_of(host, fifo=0, revision="v1"):
    """A driver on ``host``, not started."""
    runtime = PatientRuntime()
    driver = Driver(FifoDriverBus(host, fifo, runtime), runtime, revision=revision)
    driver.rings = RingAllocator(memory=host.memory)
    return driver


def socket_folder():
    """A folder with a path short enough for a socket."""
    return tempfile.TemporaryDirectory(prefix="amp-")


def socket_in(folder):
    return Path(folder) / "s"


def with_host(server, program, revision="v1"):
    """Run ``program(host, driver)`` on a new client."""

    async def run():
        host = VfioHost(server.path)
        driver = driver_of(host, revision=revision)
        try:
            await driver.start()
            return await asyncio.wait_for(program(host, driver), 60)
        finally:
            driver.stop()
            host.close()

    return asyncio.run(run())
