# SPDX-License-Identifier: BSD-2-Clause
"""Small memories that hold an index for each FIFO."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from ..geometry import Geometry, SlotPlace
from ..interfaces import IndexView
from .modulo import successor

__all__ = ["FifoValues", "OwnedIndices"]


class FifoValues(wiring.Component):
    """A value for each FIFO, in distributed RAM; with one FIFO, in a register.

    Not cleared by a reset.

    Parameters
    ----------
    num_fifos : int
        1 to 8.
    shape : ShapeLike
        Shape of a value.
    reads : int
        Read ports.
    init
        Initial value of every FIFO, default zero.

    Attributes
    ----------
    enable : In(1), fifo : In, value : In(shape)
        Write of the value of ``fifo``, on the edge that ends this cycle.
    read_fifo, read_value : In, Out(shape), arrays of ``reads``
        Reads: the value before the write of this cycle.
    """

    def __init__(self, num_fifos: int, shape, *, reads: int, init=None):
        self._num_fifos = num_fifos
        self._init = init
        self._shape = shape
        fifo = range(max(num_fifos, 2))
        super().__init__(
            {
                "enable": In(1),
                "fifo": In(fifo),
                "value": In(shape),
                "read_fifo": In(fifo).array(reads),
                "read_value": Out(shape).array(reads),
            }
        )

    def elaborate(self, platform):
        m = Module()
        if self._num_fifos == 1:
            only = Signal(self._shape, init=self._init, reset_less=True)
            with m.If(self.enable):
                m.d.sync += only.eq(self.value)
            m.d.comb += [value.eq(only) for value in self.read_value]
            return m
        m.submodules.memory = values = memory.Memory(
            shape=self._shape,
            depth=self._num_fifos,
            init=[] if self._init is None else [self._init] * self._num_fifos,
            attrs={"ram_style": "distributed", "no_rw_check": 1},
        )
        write = values.write_port()
        m.d.comb += [
            write.en.eq(self.enable),
            write.addr.eq(self.fifo),
            write.data.eq(self.value),
        ]
        for fifo, value in zip(self.read_fifo, self.read_value, strict=True):
            read = values.read_port(domain="comb")
            m.d.comb += [read.addr.eq(fifo), value.eq(read.data)]
        return m


class OwnedIndices(wiring.Component):
    """The indices that an engine owns and the host may rewrite, an index for each FIFO.

    An engine must not advance in the cycle of a rewrite.

    Parameters
    ----------
    geometry : Geometry
    reads : int
        Read ports.

    Attributes
    ----------
    rewrite : In(1), rewrite_fifo : In, rewrite_index : In(index)
        A host write takes effect: the index changes on the edge that ends this cycle.
    advance : In(1), advance_fifo : In, advance_index : In(index)
        The engine moves the index on the edge that ends this cycle.
    read_fifo : In, read_slot : Out(SlotPlace), arrays of ``reads``
        Reads: the slot at the index.
    views : In(IndexView), array of 2
        Reads for the host, one cycle behind, but never behind a rewrite: the word that a message
        fills last reaches the RAM one cycle after the engine wrote it.
    """

    def __init__(self, geometry: Geometry, *, reads: int):
        self._geometry = geometry
        fifo, index = geometry.fifo_shape, geometry.index_shape
        super().__init__(
            {
                "rewrite": In(1),
                "rewrite_fifo": In(fifo),
                "rewrite_index": In(index),
                "advance": In(1),
                "advance_fifo": In(fifo),
                "advance_index": In(index),
                "read_fifo": In(fifo).array(reads),
                "read_slot": Out(SlotPlace(geometry)).array(reads),
                "views": In(IndexView(geometry)).array(2),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self._geometry
        viewed = data.StructLayout({"index": g.index_shape, "moved": 1})
        m.submodules.values = values = FifoValues(
            g.num_fifos, SlotPlace(g), reads=len(self.read_fifo)
        )
        m.submodules.views = views = FifoValues(g.num_fifos, viewed, reads=len(self.views))
        index = Signal(g.index_shape)
        # Place and successor are stored, so that no adder is in the way to the address of the RAM,
        # nor to what is derived from the index.
        m.d.comb += [
            values.enable.eq(self.rewrite | self.advance),
            values.value.index.eq(index),
            values.value.place.eq(g.place_of_slot(index)),
            values.value.next.eq(successor(index, g.layout.queue.capacity)),
        ]
        m.d.sync += [
            views.enable.eq(values.enable),
            views.fifo.eq(values.fifo),
            views.value.index.eq(index),
            views.value.moved.eq(~self.rewrite),
        ]
        with m.If(self.rewrite):
            m.d.comb += [
                values.fifo.eq(self.rewrite_fifo),
                index.eq(self.rewrite_index),
            ]
        with m.Else():
            m.d.comb += [
                values.fifo.eq(self.advance_fifo),
                index.eq(self.advance_index),
            ]
        for port, fifo in enumerate(self.read_fifo):
            m.d.comb += [
                values.read_fifo[port].eq(fifo),
                self.read_slot[port].eq(values.read_value[port]),
            ]
        for port, view in enumerate(self.views):
            rewrites = self.rewrite & (self.rewrite_fifo == view.fifo)
            rewritten = views.enable & ~views.value.moved & (views.fifo == view.fifo)
            m.d.comb += [
                views.read_fifo[port].eq(view.fifo),
                view.index.eq(views.read_value[port].index),
                view.moved.eq(views.read_value[port].moved & ~rewrites & ~rewritten),
            ]
        return m
