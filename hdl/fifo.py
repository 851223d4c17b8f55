# SPDX-License-Identifier: BSD-2-Clause
"""What lies between two streams whose output is a register: a FIFO, and a stage of registers.

The FIFOs of :mod:`amaranth.lib.fifo` offer what comes out of a block RAM as it comes, and promise
what is read from a word as it is written; neither is cheap in an FPGA.
"""

from amaranth.hdl import Module, Mux, ShapeLike, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["SkidBuffer", "StreamFifo"]

DISTRIBUTED_DEPTH = 16
"""Up to that depth an FPGA has memory that is read without a clock."""


class StreamFifo(wiring.Component):
    """A word a cycle; through in three cycles, two where the depth is 16 or less.

    Parameters
    ----------
    shape : ShapeLike
        Of the payload.
    depth : int
        Words in the memory, a power of two of 2 or more. The output holds one or two besides.

    Attributes
    ----------
    i : In(stream of shape), o : Out(stream of shape)
    roomy : Out(1)
        The memory is less than half full.

    Raises
    ------
    ValueError
        ``depth`` is no power of two, or less than 2.
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
        # A word is read only once it has been written: the two ports never meet at one.
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
        """A pointer into the ring of words."""
        place = Signal(range(self._depth), name=name)
        with m.If(moves):
            m.d.sync += place.eq(place + 1)
        return place


class SkidBuffer(wiring.Component):
    """Registers both ways: through in a cycle, a word a cycle, and no path from ``o.ready`` to
    ``i.ready``.

    Parameters
    ----------
    shape : ShapeLike
        Of the payload.

    Attributes
    ----------
    i : In(stream of shape), o : Out(stream of shape)
    """

    def __init__(self, shape: ShapeLike):
        self._shape = shape
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform):
        m = Module()
        # A word that was taken as the output turned out to be held up.
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
