# SPDX-License-Identifier: BSD-2-Clause
"""Indices of the driver queues, and the driver heads that doorbells sample."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..arbiter import round_robin
from ..geometry import Geometry, SlotLimit
from ..interfaces import IndexUpdate, IndexView, QueuePort
from .index_memory import FifoValues, OwnedIndices
from .modulo import predecessor
from .occupancy import Occupancy

__all__ = ["DriverQueues"]


class DriverQueues(wiring.Component):
    """Head, tail and doorbell head of the driver queue of each FIFO.

    A doorbell samples the head as the host had written it before. Doorbells that come together wait
    and take effect one per cycle. A host write of the tail starts the queue over (the Linux driver
    zeroes it when it reloads): earlier doorbells do not apply to it.

    Attributes
    ----------
    clear : In(1)
        Every index is being cleared: doorbells and messages are forgotten.
    doorbell : In(num_fifos)
        Samples the head.
    update : In(IndexUpdate)
        Host writes.
    views : In(IndexView), array of 2
        Tails, for the host.
    engine : Out(QueuePort)
        Messages in ``[tail, doorbell head)``, for the pop engine, which owns the tails. It sees a
        doorbell two cycles after, or three: with several FIFOs, or for a head that was written in
        the cycle before.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        super().__init__(
            {
                "clear": In(1),
                "doorbell": In(geometry.num_fifos),
                "update": In(IndexUpdate(geometry)),
                "views": In(IndexView(geometry)).array(2),
                "engine": Out(QueuePort(geometry)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self._geometry
        update, engine = self.update, self.engine
        limit = SlotLimit(g)
        m.submodules.heads = heads = FifoValues(g.num_fifos, limit, reads=1, init=limit.at(0))
        m.submodules.tails = tails = OwnedIndices(g, reads=2)
        m.submodules.doorbell_heads = limits = FifoValues(
            g.num_fifos, limit, reads=1, init=limit.at(0)
        )
        m.submodules.occupancy = occupancy = Occupancy(g, cleared_items=0)
        samples, fifo = self._sample(m)

        for outer, inner in zip(self.views, tails.views, strict=True):
            wiring.connect(m, wiring.flipped(outer), inner)
        m.d.comb += [
            heads.enable.eq(update.head),
            heads.fifo.eq(update.fifo),
            heads.value.index.eq(update.index),
            heads.value.before.eq(predecessor(update.index, g.layout.queue.capacity)),
            heads.read_fifo[0].eq(fifo),
            tails.rewrite.eq(update.tail),
            tails.rewrite_fifo.eq(update.fifo),
            tails.rewrite_index.eq(update.index),
            tails.advance.eq(engine.advance),
            tails.advance_fifo.eq(engine.advance_fifo),
            tails.advance_index.eq(engine.next_index),
            Cat(*tails.read_fifo).eq(Cat(engine.fifo, fifo)),
            limits.enable.eq(samples),
            limits.fifo.eq(fifo),
            limits.value.eq(heads.read_value[0]),
            limits.read_fifo[0].eq(engine.advance_fifo),
            occupancy.clear.eq(self.clear),
            occupancy.forget.eq(update.tail),
            occupancy.forget_fifo.eq(update.fifo),
            occupancy.count.eq(samples),
            occupancy.count_fifo.eq(fifo),
            occupancy.count_slot.eq(tails.read_slot[1]),
            occupancy.count_limit.eq(heads.read_value[0]),
            occupancy.advance.eq(engine.advance),
            occupancy.advance_fifo.eq(engine.advance_fifo),
            occupancy.advance_index.eq(engine.next_index),
            occupancy.advance_limit.eq(limits.read_value[0]),
            engine.has_one.eq(occupancy.has_one),
            engine.has_two.eq(occupancy.has_two),
            engine.slot.eq(tails.read_slot[0]),
            engine.hold.eq(update.tail),
            engine.rewritten.eq(update.tail & (update.fifo == engine.advance_fifo)),
        ]
        return m

    def _sample(self, m):
        """Let the doorbells wait, and select one. Returns whether it takes effect in this cycle,
        and its FIFO."""
        g, update = self._geometry, self.update
        waiting = Signal(g.num_fifos)
        if g.num_fifos == 1:
            # A head that was written before the doorbell lands in this cycle, at the latest.
            samples = waiting & ~update.head & ~update.tail
            m.d.sync += waiting.eq(
                (self.doorbell | (waiting & ~samples & ~update.coming_tail)) & ~self.clear
            )
            return samples & ~self.clear, update.fifo
        # The head of the selected FIFO is read in the next cycle. A head that the host wrote after
        # the doorbell is on its way: select that FIFO now, so that the former head is read.
        samples = Signal()
        fifo = Signal(g.fifo_shape)
        # Turns are by the doorbells that nothing overtook, so that no FIFO is passed over.
        last = Signal(g.fifo_shape)
        overtaken = update.coming_head & waiting.bit_select(update.coming_fifo, 1)
        selected = Signal(g.fifo_shape)
        served = Signal(g.num_fifos)
        selects = Signal()
        m.d.comb += [
            selected.eq(Mux(overtaken, update.coming_fifo, round_robin(waiting, last))),
            selects.eq(waiting.any() & ~update.coming_tail),
            served.eq(Cat(selected == index for index in range(g.num_fifos))),
        ]
        m.d.sync += [
            samples.eq(selects & ~self.clear),
            fifo.eq(selected),
        ]
        with m.If(selects & ~overtaken):
            m.d.sync += last.eq(selected)
        for index in range(g.num_fifos):
            kept = waiting[index] & ~Mux(
                update.coming_tail, update.coming_fifo == index, served[index]
            )
            m.d.sync += waiting[index].eq((self.doorbell[index] | kept) & ~self.clear)
        return samples, fifo
