# SPDX-License-Identifier: BSD-2-Clause
"""Read buffer: space for the data of every tag."""

from amaranth.hdl import Module
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In

from ..geometry import Geometry
from .read_interfaces import BufferRead, BufferWrite

__all__ = ["ReadBuffer"]


class ReadBuffer(wiring.Component):
    """One memory per lane, since an unaligned beat spans two words.

    Attributes
    ----------
    write : In(BufferWrite(geometry))
        Write port.
    read : In(BufferRead(geometry))
        Read port.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        super().__init__({"write": In(BufferWrite(geometry)), "read": In(BufferRead(geometry))})

    def elaborate(self, platform):
        m = Module()
        for lane in range(self._geometry.lanes):
            depth = 1 << len(self.read.address)
            # A write and a read never collide: data is written for a tag that is not done and read
            # for a tag that is. A read that timed out may be both, but returns zeros.
            bank = memory.Memory(shape=32, depth=depth, init=[], attrs={"no_rw_check": 1})
            m.submodules[f"lane_{lane}"] = bank
            write, read = bank.write_port(), bank.read_port()
            bits = slice(32 * lane, 32 * lane + 32)
            m.d.comb += [
                write.en.eq(self.write.enable[lane]),
                write.addr.eq(self.write.address[lane]),
                write.data.eq(self.write.data[bits]),
                read.en.eq(self.read.enable),
                read.addr.eq(self.read.address),
                self.read.data[bits].eq(read.data),
            ]
        return m
