# SPDX-License-Identifier: BSD-2-Clause
"""Stream buffers: FIFOs with a registered output and with a registered input, and a skid buffer.

The FIFOs of :mod:`amaranth.lib.fifo` drive their output from the block RAM without a register, and
define the result of a read during a write to the same word; both are expensive in an FPGA.
"""

from amaranth.hdl import Module, Mux, ShapeLike, Signal
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["LateFifo", "SkidBuffer", "StreamFifo"]

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
    half_empty : Out(1)
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


class LateFifo(wiring.Component):
    """FIFO in distributed RAM for words of which a part is late in the cycle.

    The throughput is one word per cycle, the latency one cycle. The output is not registered.

    Parameters
    ----------
    early, late : ShapeLike
        Shapes of the parts of the payload.
    depth : int
        Words, a power of two from 2 to :data:`DISTRIBUTED_DEPTH`.
    registered : bool
        The late part enters a register, and the RAM from there, which takes a lookup table for each
        of its bits. Otherwise it enters the RAM.

    Attributes
    ----------
    i : In(stream of a struct of ``early`` and ``late``)
        Input.
    o : Out(stream of the same struct)
        Output; ``valid`` is registered.
    level : Out(range(depth + 1))
        Words inside.

    Raises
    ------
    ValueError
        ``depth`` is not a power of two, or out of range.
    """

    def __init__(self, early: ShapeLike, late: ShapeLike, *, depth: int, registered: bool = True):
        if not 2 <= depth <= DISTRIBUTED_DEPTH or depth & (depth - 1):
            raise ValueError(
                f"depth is {depth}: must be a power of two from 2 to {DISTRIBUTED_DEPTH}"
            )
        self._shapes = {"early": early, "late": late}
        self._registered = registered
        self._depth = depth
        payload = stream.Signature(data.StructLayout(self._shapes))
        super().__init__(
            {"i": In(payload), "o": Out(payload), "level": Out(range(depth + 1))},
        )

    def elaborate(self, platform):
        m = Module()
        early_write, early_read = self._add_part(m, "early")
        late_write, late_read = self._add_part(m, "late")
        push = Signal()
        pop = Signal()
        empties = (self.level == 0) | ((self.level == 1) & pop)
        next_place = Signal(range(self._depth))
        oldest_place = Signal(range(self._depth))
        m.d.comb += [
            self.i.ready.eq(~self.level[-1]),
            push.eq(self.i.valid & self.i.ready),
            pop.eq(self.o.valid & self.o.ready),
            early_write.en.eq(push),
            early_write.addr.eq(next_place),
            early_write.data.eq(self.i.p.early),
            early_read.addr.eq(oldest_place),
            late_read.addr.eq(oldest_place),
            self.o.p.early.eq(early_read.data),
        ]
        m.d.sync += self.o.valid.eq(push | ~empties)
        with m.If(push):
            m.d.sync += next_place.eq(next_place + 1)
        with m.If(pop):
            m.d.sync += oldest_place.eq(oldest_place + 1)
        with m.If(push ^ pop):
            m.d.sync += self.level.eq(self.level + Mux(pop, -1, 1))
        if not self._registered:
            m.d.comb += [
                late_write.en.eq(push),
                late_write.addr.eq(next_place),
                late_write.data.eq(self.i.p.late),
                self.o.p.late.eq(late_read.data),
            ]
            return m
        newest = Signal(self._shapes["late"], reset_less=True)
        newest_place = Signal(range(self._depth))
        # The late part of the only word is not in the RAM yet.
        only = Signal()
        m.d.comb += [
            # Until the next push, the same part is written again and again.
            late_write.en.eq(1),
            late_write.addr.eq(newest_place),
            late_write.data.eq(newest),
            self.o.p.late.eq(Mux(only, newest, late_read.data)),
        ]
        m.d.sync += only.eq(push & empties)
        with m.If(push):
            m.d.sync += [newest.eq(self.i.p.late), newest_place.eq(next_place)]
        return m

    def _add_part(self, m, name):
        """Add the RAM of a part of the words; returns its ports."""
        m.submodules[name] = part = memory.Memory(
            shape=self._shapes[name],
            depth=self._depth,
            init=[],
            attrs={"ram_style": "distributed", "no_rw_check": 1},
        )
        return part.write_port(), part.read_port(domain="comb")


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
