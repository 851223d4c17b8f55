# SPDX-License-Identifier: BSD-2-Clause
"""Holds a message back until the DMA writes before it have departed.

PCI Express Base 4.0 section 2.4.1: a posted request does not pass another, so the driver finds the
data that a message refers to.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..interfaces import WriteFence

__all__ = ["SlotFence"]


class SlotFence(wiring.Component):
    """Stalls the last word of a slot for the writes in flight when the word was first due.

    Writes accepted later do not stall it, so the device side may go on writing.

    Attributes
    ----------
    writes : In(WriteFence())
        DMA writes.
    due : In(1)
        The last word is valid and has not been written.
    stall : Out(1)
        The word must not be written in this cycle.
    """

    def __init__(self) -> None:
        super().__init__({"writes": In(WriteFence()), "due": In(1), "stall": Out(1)})

    def elaborate(self, platform):
        m = Module()
        pending, departed = self.writes.pending, self.writes.departed
        due_q = Signal()
        # One cycle after `due`: `pending` counts every write accepted before, and `remaining` takes
        # over from it.
        counted = Signal()
        remaining = Signal.like(pending)
        any_remaining = Signal()
        now_remaining = Signal.like(pending)
        next_remaining = Signal.like(pending)
        m.d.comb += [
            now_remaining.eq(Mux(counted, remaining, pending)),
            next_remaining.eq(now_remaining - (departed & (now_remaining != 0))),
        ]
        m.d.sync += [
            due_q.eq(self.due),
            counted.eq(self.due & due_q),
            remaining.eq(next_remaining),
            any_remaining.eq(next_remaining != 0),
        ]
        accepted = self.writes.accepted & ~due_q
        m.d.comb += self.stall.eq(Mux(counted, any_remaining, (pending != 0) | accepted))
        return m
