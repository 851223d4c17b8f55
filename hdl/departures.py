# SPDX-License-Identifier: BSD-2-Clause
"""Tracking of TLPs that were planned under a former setting.

A setting that the host lowers holds from the completion of the configuration write on (PCI Express
Base 4.0 sections 2.2.2, 7.5.3.4). TLPs that are already planned cannot be split again, so that
completion waits until they have departed.
"""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["DepartureTracker", "former_beat"]


def former_beat(m: Module, source: stream.Interface, fell: Value) -> Signal:
    """High while ``source`` holds a beat that was valid while ``fell``, level or pulse, was high.

    Valid in the cycle of ``fell``, too.
    """
    former = Signal()
    former_q = Signal()
    m.d.comb += former.eq(source.valid & (former_q | fell))
    m.d.sync += former_q.eq(former & ~source.ready)
    return former


class DepartureTracker(wiring.Component):
    """Counts the items inside, in order of arrival, and those planned before a setting fell.

    Parameters
    ----------
    most : int
        Maximum number of items inside.

    Attributes
    ----------
    planned : In(1)
        Pulse: an item enters.
    departed : In(1)
        Pulse: the oldest item departs. An item does not depart in the cycle in which it enters.
    fell : In(1)
        A setting fell. All items inside become former items, one with ``planned`` in this cycle
        included.
    former : Out(1)
        A former item is inside; valid from the cycle after ``fell`` on.

    Raises
    ------
    ValueError
        ``most`` is less than 1.
    """

    def __init__(self, most: int):
        if most < 1:
            raise ValueError(f"most is {most}: must be 1 or more")
        self._most = most
        super().__init__({"planned": In(1), "departed": In(1), "fell": In(1), "former": Out(1)})

    def elaborate(self, platform):
        m = Module()
        inside = Signal(range(self._most + 1))
        former_items = Signal.like(inside)
        inside_next = Signal.like(inside)
        m.d.comb += [
            inside_next.eq(inside + self.planned - self.departed),
            self.former.eq(former_items != 0),
        ]
        m.d.sync += [
            inside.eq(inside_next),
            former_items.eq(
                Mux(self.fell, inside_next, former_items - (self.departed & self.former))
            ),
        ]
        return m
