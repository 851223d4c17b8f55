# SPDX-License-Identifier: BSD-2-Clause
"""How much each queue holds for its engine: nothing, one item, or more."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..geometry import Geometry, SlotLimit, SlotPlace

__all__ = ["Occupancy"]


class Occupancy(wiring.Component):
    """Two bits for each queue, kept up to date by events.

    An item is a message for the pop engine, a free slot for the push engine. The engine takes items
    at the index that it owns, up to a limit.

    Parameters
    ----------
    geometry : Geometry
    cleared_items : int
        Items of a queue whose indices are zero: 0 for a consumer; for a producer, whose queue is
        full with one slot empty, the capacity less one.

    Attributes
    ----------
    clear : In(1)
        Every queue is being emptied. No queue has an item until two cycles after ``clear`` falls;
        then every index is zero.
    forget : In(1), forget_fifo : In
        ``fifo`` has no item from the next cycle on.
    count : In(1), count_fifo : In, count_slot : In(SlotPlace), count_limit : In(SlotLimit)
        The items of ``count_fifo`` are those from the slot to the limit. ``forget`` wins over it.
    advance : In(1), advance_fifo : In, advance_index : In(index), advance_limit : In(SlotLimit)
        The engine takes an item of ``advance_fifo``: its index moves to ``advance_index``. The
        limit is the one before ``count`` of this cycle.
    has_one, has_two : Out(num_fifos)
        The queue has at least one, at least two items.
    """

    def __init__(self, geometry: Geometry, *, cleared_items: int):
        self._cleared_items = cleared_items
        fifo, index, n = geometry.fifo_shape, geometry.index_shape, geometry.num_fifos
        super().__init__(
            {
                "clear": In(1),
                "forget": In(1),
                "forget_fifo": In(fifo),
                "count": In(1),
                "count_fifo": In(fifo),
                "count_slot": In(SlotPlace(geometry)),
                "count_limit": In(SlotLimit(geometry)),
                "advance": In(1),
                "advance_fifo": In(fifo),
                "advance_index": In(index),
                "advance_limit": In(SlotLimit(geometry)),
                "has_one": Out(n),
                "has_two": Out(n),
            }
        )

    def elaborate(self, platform):
        m = Module()
        slot, limit = self.count_slot, self.count_limit
        # Whether each of three slots is short of the limit.
        short = Signal(3)
        one_after = Signal()
        two_after = Signal()
        m.d.comb += [
            short[0].eq(slot.index != limit.index),
            short[1].eq(slot.next != limit.index),
            short[2].eq(slot.next != limit.before),
            one_after.eq(self.advance_index != self.advance_limit.index),
            two_after.eq(one_after & (self.advance_index != self.advance_limit.before)),
        ]
        cleared = Signal()
        m.d.sync += cleared.eq(self.clear)
        for fifo in range(len(self.has_one)):
            one, two = self.has_one[fifo], self.has_two[fifo]
            advances = self.advance & (self.advance_fifo == fifo)
            with m.If(self.count & (self.count_fifo == fifo)):
                m.d.sync += [
                    one.eq(Mux(advances, short[1], short[0])),
                    two.eq(short[1] & Mux(advances, short[2], short[0])),
                ]
            with m.Elif(advances):
                m.d.sync += [one.eq(one_after), two.eq(two_after)]
            with m.If(self.forget & (self.forget_fifo == fifo)):
                m.d.sync += [one.eq(0), two.eq(0)]
        with m.If(cleared):
            m.d.sync += [
                self.has_one.eq(-1 if self._cleared_items >= 1 else 0),
                self.has_two.eq(-1 if self._cleared_items >= 2 else 0),
            ]
        with m.If(self.clear):
            m.d.sync += [self.has_one.eq(0), self.has_two.eq(0)]
        return m
