# SPDX-License-Identifier: BSD-2-Clause
"""Tracking of TLPs that were planned under a former setting.

A setting that the host lowers holds from the completion of the configuration write on (PCI Express
Base 4.0 sections 2.2.2, 7.5.3.4). TLPs that are already planned cannot be split again, so that
completion waits until they have departed.
"""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["DepartureTracker", "former_offer"]


def former_offer(m: Module, offer: stream.Interface, fell: Value) -> Signal:
    """High while ``offer`` holds a beat that was valid when ``fell``, a level or a pulse, was high.

    Valid in the cycle of ``fell``, too.
    """
    former = Signal()
    was_former = Signal()
    m.d.comb += former.eq(offer.valid & (was_former | fell))
    m.d.sync += was_former.eq(former & ~offer.ready)
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
        to_go = Signal.like(inside)
        after = Signal.like(inside)
        m.d.comb += [
            after.eq(inside + self.planned - self.departed),
            self.former.eq(to_go != 0),
        ]
        m.d.sync += [
            inside.eq(after),
            to_go.eq(Mux(self.fell, after, to_go - (self.departed & self.former))),
        ]
        return m
