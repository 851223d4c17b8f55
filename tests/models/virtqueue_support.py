# SPDX-License-Identifier: BSD-2-Clause
"""Virtqueue whose rings are written by a test, and memory that logs accesses."""

import struct

from models.dma import DmaError
from models.driver import Ring
from models.host_memory import MemoryAccessError, MemoryModel
from models.virtqueue import DeviceVirtqueue, DriverVirtqueue

NEXT, WRITE, INDIRECT = 1, 2, 4


class Memory(MemoryModel):
    """Host memory that is also a :class:`~models.dma.Dma`.

    Attributes
    ----------
    log
        Accesses: "read" or "write", address, size.
    reads_remaining
        Number of further reads allowed, or None. Another read fails the test.
    """

    def __init__(self):
        super().__init__()
        self.log = []
        self.reads_remaining = None
        self.dma = self

    async def read(self, address, size):
        self.log.append(("read", address, size))
        if self.reads_remaining is not None:
            self.reads_remaining -= 1
            assert self.reads_remaining >= 0, "too many reads"
        try:
            return self.load(address, size)
        except MemoryAccessError as error:
            raise DmaError(str(error)) from error

    async def write(self, address, data):
        self.log.append(("write", address, len(data)))
        self.store(address, data)


class ManualQueue:
    """Queue of ``size`` descriptors whose bytes a test writes and reads."""

    def __init__(self, size=4):
        self.size = size
        self.memory = Memory()
        self.table = self.memory.allocate(16 * size)
        self.avail = self.memory.allocate(6 + 2 * size)
        self.used = self.memory.allocate(6 + 8 * size)
        self.ring = Ring(
            size=size,
            descriptor_addr=self.table,
            driver_addr=self.avail,
            device_addr=self.used,
        )

    def device(self, **options):
        return DeviceVirtqueue(
            self.memory,
            size=self.size,
            descriptor_addr=self.table,
            driver_addr=self.avail,
            device_addr=self.used,
            **options,
        )

    def driver(self, **options):
        return DriverVirtqueue(self.memory, self.ring, **options)

    def write_descriptor(self, number, address, size, flags=0, following=0, *, table=None):
        """Write descriptor ``number`` of ``table``, which is the queue's by default."""
        at = (self.table if table is None else table) + 16 * number
        self.memory.store(at, struct.pack("<QIHH", address, size, flags, following))

    def make_available(self, *heads, index=None, flags=0):
        """Write heads to the available ring from entry 0 on, and their number to the index."""
        count = len(heads) if index is None else index
        entries = struct.pack(f"<HH{len(heads)}H", flags, count, *heads)
        self.memory.store(self.avail, entries)

    def write_used(self, *elements, index=None, flags=0):
        """Write ids and lengths to the used ring from entry 0 on, and their number to the index."""
        count = len(elements) if index is None else index
        self.memory.store(self.used, struct.pack("<HH", flags, count))
        for place, element in enumerate(elements):
            self.memory.store(self.used + 4 + 8 * place, struct.pack("<II", *element))

    def set_used_event(self, value):
        self.memory.store(self.avail + 4 + 2 * self.size, struct.pack("<H", value))

    def set_avail_event(self, value):
        self.memory.store(self.used + 4 + 8 * self.size, struct.pack("<H", value))

    @property
    def used_event(self):
        return self.memory.load(self.avail + 4 + 2 * self.size, 2)

    @property
    def avail_event(self):
        return self.memory.load(self.used + 4 + 8 * self.size, 2)
