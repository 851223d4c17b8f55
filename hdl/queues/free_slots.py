# SPDX-License-Identifier: BSD-2-Clause
"""Free slots of the device queues."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..geometry import Geometry
from .modulo import successor

__all__ = ["FreeSlots"]


class FreeSlots(wiring.Component):
    """Compares head and tail of each device queue, one cycle ahead.

    Registered: the comparison is too long a path to decide in the cycle in which a packet arrives.

    Attributes
    ----------
    head, tail : In
        Indices, an element for each FIFO.
    rewritten : In(num_fifos)
        The host writes the head.
    fifo : In
        FIFO of the packet that is accepted.
    filling : In(1)
        A slot of ``fifo`` is being filled, or its first word is written in this cycle.
    advances : In(1)
        The head of ``fifo`` advances on the edge that ends this cycle.
    slot_free : Out(num_fifos)
        The slot at head is free. Low for one cycle after the host wrote the head.
    has_space : Out(num_fifos)
        There is a free slot beside the one that is being filled.
    """

    def __init__(self, geometry: Geometry):
        self._capacity = geometry.layout.queue.capacity
        n = geometry.num_fifos
        super().__init__(
            {
                "head": In(geometry.indices_shape),
                "tail": In(geometry.indices_shape),
                "rewritten": In(n),
                "fifo": In(geometry.fifo_shape),
                "filling": In(1),
                "advances": In(1),
                "slot_free": Out(n),
                "has_space": Out(n),
            }
        )

    def elaborate(self, platform):
        m = Module()
        for fifo in range(len(self.slot_free)):
            head, tail = self.head[fifo], self.tail[fifo]
            next_head = Signal.like(head, name=f"next_head_{fifo}")
            one_free = Signal(name=f"one_free_{fifo}")
            two_free = Signal(name=f"two_free_{fifo}")
            selected = self.fifo == fifo
            m.d.comb += [
                next_head.eq(successor(head, self._capacity)),
                one_free.eq(next_head != tail),
                two_free.eq(one_free & (successor(next_head, self._capacity) != tail)),
            ]
            m.d.sync += [
                self.slot_free[fifo].eq(
                    Mux(self.advances & selected, two_free, one_free) & ~self.rewritten[fifo]
                ),
                self.has_space[fifo].eq(Mux(self.filling & selected, two_free, one_free)),
            ]
        return m
