# SPDX-License-Identifier: BSD-2-Clause
"""Stream buffers: a FIFO with a registered output, the places of a ring, and a skid buffer.

The FIFOs of :mod:`amaranth.lib.fifo` drive their output from the block RAM without a register, and
define the result of a read during a write to the same word; both are expensive in an FPGA.
"""

from amaranth.hdl import Module, Mux, ShapeLike, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["RingPlaces", "SkidBuffer", "StreamFifo"]

DISTRIBUTED_DEPTH = 16
"""Largest depth that uses distributed RAM, which has a combinational read port."""


def _check_depth(depth: int) -> None:
    if depth < 2 or depth & (depth - 1):
        raise ValueError(f"depth is {depth}: must be a power of two of 2 or more")


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
    half_empty : Out(1)
        The memory is less than half full.

    Raises
    ------
    ValueError
        ``depth`` is not a power of two, or less than 2.
    """

    def __init__(self, shape: ShapeLike, *, depth: int):
        _check_depth(depth)
        self._shape = shape
        self._depth = depth
        super().__init__(
            {
                "i": In(stream.Signature(shape)),
                "o": Out(stream.Signature(shape)),
                "half_empty": Out(1),
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
        push = Signal()
        pop = Signal()
        can_load = Signal()
        m.d.comb += [
            self.i.ready.eq(~level[-1]),
            self.half_empty.eq(level[-2:] == 0),
            push.eq(self.i.valid & self.i.ready),
            can_load.eq(~self.o.valid | self.o.ready),
            write.addr.eq(self._place(m, "tail", push)),
            write.data.eq(self.i.p),
            write.en.eq(push),
            read.addr.eq(self._place(m, "head", pop)),
        ]
        with m.If(push ^ pop):
            m.d.sync += level.eq(level + Mux(pop, -1, 1))
        not_empty = level != 0
        if distributed:
            read_valid = not_empty
            m.d.comb += pop.eq(not_empty & can_load)
        else:
            read_valid = Signal()
            m.d.comb += [pop.eq(not_empty & (~read_valid | can_load)), read.en.eq(pop)]
            m.d.sync += read_valid.eq(pop | (read_valid & ~can_load))
        with m.If(can_load):
            m.d.sync += [self.o.valid.eq(read_valid), self.o.p.eq(read.data)]
        return m

    def _place(self, m, name, advance):
        """Pointer into the memory; increments with ``moves``."""
        pointer = Signal(range(self._depth), name=name)
        with m.If(advance):
            m.d.sync += pointer.eq(pointer + 1)
        return pointer


class RingPlaces(wiring.Component):
    """Where a ring in memory is written and read.

    Parameters
    ----------
    depth : int
        Places, a power of two of 2 or more.

    Attributes
    ----------
    push, pop : In(1)
        An item enters, an item leaves. ``pop`` may be late in the cycle.
    next_place, oldest_place : Out(range(depth))
        Place of the item that enters next, and of the one that leaves next.
    level : Out(range(depth + 1))
        Items inside.
    empties : Out(1)
        None of the items remains after this cycle.
    has_item : Out(1)
        ``level`` is not zero; registered.

    Raises
    ------
    ValueError
        ``depth`` is not a power of two, or less than 2.
    """

    def __init__(self, depth: int):
        _check_depth(depth)
        self._depth = depth
        super().__init__(
            {
                "push": In(1),
                "pop": In(1),
                "next_place": Out(range(depth)),
                "oldest_place": Out(range(depth)),
                "level": Out(range(depth + 1)),
                "empties": Out(1),
                "has_item": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.empties.eq((self.level == 0) | ((self.level == 1) & self.pop))
        m.d.sync += self.has_item.eq(self.push | ~self.empties)
        with m.If(self.push):
            m.d.sync += self.next_place.eq(self.next_place + 1)
        with m.If(self.pop):
            m.d.sync += self.oldest_place.eq(self.oldest_place + 1)
        with m.If(self.push ^ self.pop):
            m.d.sync += self.level.eq(self.level + Mux(self.pop, -1, 1))
        return m


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
        # Two registers that take turns. Whether one is loaded does not depend on `o.ready`, which
        # is late, and neither does its wide payload.
        full = Signal()
        loads_second = Signal()
        reads_second = Signal()
        first = Signal(self._shape, reset_less=True)
        second = Signal(self._shape, reset_less=True)
        push = Signal()
        pop = Signal()
        m.d.comb += [
            self.i.ready.eq(~full),
            self.o.p.eq(Mux(reads_second, second, first)),
            push.eq(self.i.valid & self.i.ready),
            pop.eq(self.o.valid & self.o.ready),
        ]
        with m.If(~full & ~loads_second):
            m.d.sync += first.eq(self.i.p)
        with m.If(~full & loads_second):
            m.d.sync += second.eq(self.i.p)
        m.d.sync += [
            loads_second.eq(loads_second ^ push),
            reads_second.eq(reads_second ^ pop),
            self.o.valid.eq(full | push | (self.o.valid & ~self.o.ready)),
            full.eq((full | (push & self.o.valid)) & ~self.o.ready),
        ]
        return m
