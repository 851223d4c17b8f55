# SPDX-License-Identifier: BSD-2-Clause
"""Event counters of the device side, from :data:`models.counters.COUNTERS`."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from models.counters import COUNTERS
from models.shell import MAX_FIFOS

__all__ = ["EventCounters"]


class EventCounters(wiring.Component):
    """Counts events, several per cycle. Each event is registered first, so that no counter
    lengthens the path of its event.

    Attributes
    ----------
    <name> : In(4)
        Events of the counter in this cycle.
    count_<name> : Out(bits)
        Events up to the second-last cycle, since ``rst``.
    """

    def __init__(self) -> None:
        events = range(MAX_FIFOS + 1)
        super().__init__(
            {
                **{counter.name: In(events) for counter in COUNTERS},
                **{counter.port: Out(counter.bits) for counter in COUNTERS},
            }
        )

    def elaborate(self, platform):
        m = Module()
        for counter in COUNTERS:
            events, total = getattr(self, counter.name), getattr(self, counter.port)
            events_q = Signal.like(events, name=f"{counter.name}_q")
            m.d.sync += [events_q.eq(events), total.eq(total + events_q)]
        return m
