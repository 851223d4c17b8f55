# SPDX-License-Identifier: BSD-2-Clause
"""Indices of the device queues, and their free slots."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..geometry import Geometry, SlotLimit
from ..interfaces import IndexUpdate, IndexView, QueuePort
from .index_memory import FifoValues, OwnedIndices
from .modulo import predecessor, second_predecessor
from .occupancy import Occupancy

__all__ = ["DeviceQueues"]


class DeviceQueues(wiring.Component):
    """Head and tail of the device queue of each FIFO.

    Attributes
    ----------
    clear : In(1)
        Every index is being cleared: no slot is free.
    update : In(IndexUpdate)
        Host writes.
    views : In(IndexView), array of 2
        Heads, for the host.
    engine : Out(QueuePort)
        Free slots from head on, for the push engine, which owns the heads. A host write of the tail
        frees slots two cycles after ``update``; after one of the head no slot is free for one
        cycle.
    filling : In(num_fifos)
        The engine is filling a slot of the FIFO, or writes its first word in this cycle.
    has_space : Out(num_fifos)
        There is a free slot beside the one that is being filled.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        super().__init__(
            {
                "clear": In(1),
                "update": In(IndexUpdate(geometry)),
                "views": In(IndexView(geometry)).array(2),
                "engine": Out(QueuePort(geometry)),
                "filling": In(geometry.num_fifos),
                "has_space": Out(geometry.num_fifos),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self._geometry
        capacity = g.layout.queue.capacity
        update, engine = self.update, self.engine
        limit = SlotLimit(g)
        m.submodules.heads = heads = OwnedIndices(g, reads=2)
        m.submodules.limits = limits = FifoValues(
            g.num_fifos, limit, reads=2, init=limit.at(capacity - 1)
        )
        m.submodules.occupancy = occupancy = Occupancy(g, cleared_items=capacity - 1)
        # One cycle after a host write both indices are in their memories.
        landed = Signal()
        landed_fifo = Signal(g.fifo_shape)
        m.d.sync += [
            landed.eq((update.head | update.tail) & ~self.clear),
            landed_fifo.eq(update.fifo),
        ]
        for outer, inner in zip(self.views, heads.views, strict=True):
            wiring.connect(m, wiring.flipped(outer), inner)
        m.d.comb += [
            heads.rewrite.eq(update.head),
            heads.rewrite_fifo.eq(update.fifo),
            heads.rewrite_index.eq(update.index),
            heads.advance.eq(engine.advance),
            heads.advance_fifo.eq(engine.advance_fifo),
            heads.advance_index.eq(engine.next_index),
            Cat(*heads.read_fifo).eq(Cat(engine.fifo, landed_fifo)),
            # The slot before the tail stays empty.
            limits.enable.eq(update.tail),
            limits.fifo.eq(update.fifo),
            limits.value.index.eq(predecessor(update.index, capacity)),
            limits.value.before.eq(second_predecessor(update.index, capacity)),
            Cat(*limits.read_fifo).eq(Cat(engine.advance_fifo, landed_fifo)),
            occupancy.clear.eq(self.clear),
            occupancy.forget.eq(update.head),
            occupancy.forget_fifo.eq(update.fifo),
            occupancy.count.eq(landed),
            occupancy.count_fifo.eq(landed_fifo),
            occupancy.count_slot.eq(heads.read_slot[1]),
            occupancy.count_limit.eq(limits.read_value[1]),
            occupancy.advance.eq(engine.advance),
            occupancy.advance_fifo.eq(engine.advance_fifo),
            occupancy.advance_index.eq(engine.next_index),
            occupancy.advance_limit.eq(limits.read_value[0]),
            engine.has_one.eq(occupancy.has_one),
            engine.has_two.eq(occupancy.has_two),
            engine.slot.eq(heads.read_slot[0]),
            engine.hold.eq(update.head),
            engine.rewritten.eq(update.head & (update.fifo == engine.advance_fifo)),
        ]
        for fifo in range(g.num_fifos):
            m.d.sync += self.has_space[fifo].eq(
                Mux(self.filling[fifo], occupancy.has_two[fifo], occupancy.has_one[fifo])
            )
        return m
