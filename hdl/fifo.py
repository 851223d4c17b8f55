# SPDX-License-Identifier: BSD-2-Clause
"""Stream buffers with registered outputs: a FIFO and a skid buffer.

The FIFOs of :mod:`amaranth.lib.fifo` drive their output from the block RAM without a register, and
define the result of a read during a write to the same word; both are expensive in an FPGA.
"""

from amaranth.hdl import Module, Mux, ShapeLike, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["SkidBuffer", "StreamFifo"]

DISTRIBUTED_DEPTH = 16
"""Largest depth that uses distributed RAM, which has a combinational read port."""


class StreamFifo(wiring.Component):
    """FIFO with a throughput of one word per cycle.

    The latency is three cycles, or two up to a depth of :data:`DISTRIBUTED_DEPTH`.

    Parameters
    ----------
    shape : ShapeLike
        Shape of the payload.
    depth : int
        Words in the memory, a power of two of 2 or more. The output holds one or two more.

    Attributes
    ----------
    i : In(stream.Signature(shape))
        Input.
    o : Out(stream.Signature(shape))
        Output.
    roomy : Out(1)
        The memory is less than half full.

    Raises
    ------
    ValueError
        ``depth`` is not a power of two, or less than 2.
    """

    def __init__(self, shape: ShapeLike, *, depth: int):
        if depth < 2 or depth & (depth - 1):
            raise ValueError(f"depth is {depth}: must be a power of two of 2 or more")
        self._shape = shape
        self._depth = depth
        super().__init__(
            {
                "i": In(stream.Signature(shape)),
                "o": Out(stream.Signature(shape)),
                "roomy": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        depth = self._depth
        distributed = depth <= DISTRIBUTED_DEPTH
        # A word is read only in cycles after its write, so the two ports never access the same one.
        m.submodules.words = words = memory.Memory(
            shape=self._shape, depth=depth, init=[], attrs={"no_rw_check": 1}
        )
        write = words.write_port()
        read = words.read_port(domain="comb" if distributed else "sync")
        level = Signal(range(depth + 1))
        stored = Signal()
        taken = Signal()
        can_load = Signal()
        m.d.comb += [
            self.i.ready.eq(~level[-1]),
            self.roomy.eq(level[-2:] == 0),
            stored.eq(self.i.valid & self.i.ready),
            can_load.eq(~self.o.valid | self.o.ready),
            write.addr.eq(self._place(m, "tail", stored)),
            write.data.eq(self.i.p),
            write.en.eq(stored),
            read.addr.eq(self._place(m, "head", taken)),
        ]
        with m.If(stored ^ taken):
            m.d.sync += level.eq(level + Mux(taken, -1, 1))
        there = level != 0
        if distributed:
            arrived = there
            m.d.comb += taken.eq(there & can_load)
        else:
            arrived = Signal()
            m.d.comb += [taken.eq(there & (~arrived | can_load)), read.en.eq(taken)]
            m.d.sync += arrived.eq(taken | (arrived & ~can_load))
        with m.If(can_load):
            m.d.sync += [self.o.valid.eq(arrived), self.o.p.eq(read.data)]
        return m

    def _place(self, m, name, moves):
        """Pointer into the memory; increments with ``moves``."""
        place = Signal(range(self._depth), name=name)
        with m.If(moves):
            m.d.sync += place.eq(place + 1)
        return place


class SkidBuffer(wiring.Component):
    """Register stage without a combinational path from ``o.ready`` to ``i.ready``.

    The latency is one cycle, the throughput one word per cycle.

    Parameters
    ----------
    shape : ShapeLike
        Shape of the payload.

    Attributes
    ----------
    i : In(stream.Signature(shape))
        Input.
    o : Out(stream.Signature(shape))
        Output.
    """

    def __init__(self, shape: ShapeLike):
        self._shape = shape
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform):
        m = Module()
        # The word accepted in the cycle in which the output stalled.
        spare = Signal(self._shape)
        spared = Signal()
        m.d.comb += self.i.ready.eq(~spared)
        with m.If(~self.o.valid | self.o.ready):
            m.d.sync += [
                self.o.valid.eq(spared | self.i.valid),
                self.o.p.eq(Mux(spared, spare, self.i.p)),
                spared.eq(0),
            ]
        with m.Else():
            m.d.sync += spared.eq(spared | self.i.valid)
        with m.If(~spared):
            m.d.sync += spare.eq(self.i.p)
        return m
