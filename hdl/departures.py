# SPDX-License-Identifier: BSD-2-Clause
"""Whether TLPs that were planned to a former setting of the host's are still inside.

A setting that the host lowers holds from the completion of the configuration write on (PCI Express
Base 4.0 sections 2.2.2, 7.5.3.4). TLPs planned before cannot be cut again, so that completion waits
until they have departed.
"""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["DepartureTracker", "former_offer"]


def former_offer(m: Module, offer: stream.Interface, fell: Value) -> Signal:
    """Whether ``offer`` still offers what it did as ``fell``, level or pulse, came: valid from that
    cycle on."""
    former = Signal()
    was_former = Signal()
    m.d.comb += former.eq(offer.valid & (was_former | fell))
    m.d.sync += was_former.eq(former & ~offer.ready)
    return former


class DepartureTracker(wiring.Component):
    """Counts items planned and departed, in order, and those to go since a setting fell.

    Parameters
    ----------
    most : int
        Items inside at once.

    Attributes
    ----------
    planned : In(1)
        Pulse: an item entered.
    departed : In(1)
        Pulse: the oldest item left. One that entered in the same cycle does not leave in it.
    fell : In(1)
        A setting fell. Items inside, one with ``planned`` in this cycle included, are former ones.
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
