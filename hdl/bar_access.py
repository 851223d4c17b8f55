# SPDX-License-Identifier: BSD-2-Clause
"""Host accesses to the BARs: executes word writes in order, and reads between them."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .geometry import Geometry
from .interfaces import BarRead, WordRead, WordWrite
from .msix import MsixHostPort
from .queues.memory import FifoHostPort
from .requests import Target, write_layout

__all__ = ["BarAccess"]


class BarAccess(wiring.Component):
    """One access per cycle. A write wins over a read; no further write wins over a read that one
    has stalled.

    Attributes
    ----------
    writes : In(stream of write_layout)
        Word writes.
    reads : In(BarRead)
        Word reads.
    register_write, register_read : Out(WordWrite), Out(WordRead)
        Register BAR. Read data is combinational.
    fifos : Out(FifoHostPort)
        RAM of the FIFO BAR.
    index_write, index_read : Out(WordWrite), Out(WordRead), 32 bits
        Index words, in lane 0 of words of the FIFO BAR. Read data is valid two cycles later.
    index_write_ready, index_read_ready : In(1)
        The host may write in the next cycle, may read in this one.
    index_read_hit : In(1)
        In the cycle after ``index_read``: there is an index word, which replaces lane 0 of the RAM.
    msix : Out(MsixHostPort)
        MSI-X BAR.
    """

    def __init__(self, geometry: Geometry):
        address, width = geometry.word_address_bits, geometry.data_width
        super().__init__(
            {
                "writes": In(stream.Signature(write_layout(geometry))),
                "reads": In(BarRead(geometry)),
                "register_write": Out(WordWrite(address, width)),
                "register_read": Out(WordRead(address, width)),
                "fifos": Out(FifoHostPort(geometry)),
                "index_write": Out(WordWrite(address, 32)),
                "index_read": Out(WordRead(address, 32)),
                "index_write_ready": In(1),
                "index_read_ready": In(1),
                "index_read_hit": In(1),
                "msix": Out(MsixHostPort(geometry)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        self._write(m)
        self._read(m)
        return m

    def _write(self, m):
        write = self.writes.p
        accepted = Signal()
        # `ready` is registered, so the decision between reads and writes is made one cycle early:
        # all that the host sends waits behind the writes.
        m.d.sync += self.writes.ready.eq(
            ~(self.reads.requested & ~self.reads.ready)
            & self.fifos.write_ready
            & self.msix.write_ready
            & self.index_write_ready
        )
        m.d.comb += [
            accepted.eq(self.writes.valid & self.writes.ready),
            self.reads.ready.eq(
                ~accepted & self.fifos.read_ready & self.msix.read_ready & self.index_read_ready
            ),
            self.fifos.write_to_driver.eq(accepted & write.to_driver_queue),
            self.fifos.write_to_device.eq(accepted & write.to_device_queue),
            self.register_write.enable.eq(accepted & (write.target == Target.REGISTERS)),
            self.fifos.write.enable.eq(accepted & (write.target == Target.FIFOS)),
            self.index_write.enable.eq(accepted & write.may_be_index & write.lane_0),
            self.msix.write.enable.eq(accepted & (write.target == Target.MSIX)),
        ]
        for port in (self.register_write, self.fifos.write, self.index_write, self.msix.write):
            m.d.comb += [
                port.address.eq(write.address),
                port.data.eq(write.data),
                port.mask.eq(write.mask),
            ]

    def _read(self, m):
        """Combine the read data of all BARs: each is zero unless it was read."""
        reads = self.reads
        to_fifos = reads.target == Target.FIFOS
        # Words that are not in a RAM, registered: they are valid one cycle before the RAM's.
        address_q = Signal.like(reads.address)
        from_registers_q = Signal()
        other_q = Signal.like(reads.data)
        m.d.sync += [
            address_q.eq(reads.address),
            from_registers_q.eq(reads.target == Target.REGISTERS),
            other_q.eq(self.register_read.data | self.msix.read.data),
        ]
        m.d.comb += [
            self.register_read.enable.eq(from_registers_q),
            self.register_read.address.eq(address_q),
            self.fifos.read.enable.eq(reads.enable & to_fifos),
            self.fifos.read.address.eq(reads.address),
            self.fifos.read_hides.eq(self.index_read_hit),
            # Not gated with `reads.enable`, which is late, and neither is `msix.read`: the
            # data of a word that is not fetched is not used.
            self.index_read.enable.eq(to_fifos),
            self.index_read.address.eq(reads.address),
            self.msix.read.enable.eq(reads.target == Target.MSIX),
            self.msix.read.address.eq(reads.address),
            reads.data.eq(self.fifos.read.data | self.index_read.data | other_q),
        ]
