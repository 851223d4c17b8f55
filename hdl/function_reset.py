# SPDX-License-Identifier: BSD-2-Clause
"""Function-level reset inside the core: its distribution, and its completion.

PCI Express Base 4.0 section 6.6.2.
"""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from models.config_space import SETTLING_CYCLES

__all__ = ["FunctionReset"]


class FunctionReset(wiring.Component):
    """Registers the reset, and reports when nothing from before it is left.

    Attributes
    ----------
    request : In(1)
        Function-level reset, for one cycle or longer.
    reset : Out(1)
        ``request``, one cycle later.
    push_reset : Out(1)
        ``reset`` and the cycle after it, in which ``host_reset`` pulses, from a register of its
        own: the paths of the push engine are long.
    host_reset : Out(1)
        Pulse in the cycle after ``reset`` rises.
    busy : In(1)
        A module has not completed its reset, or the hard block holds a write.
    settled : In(1)
        No TLP made before the reset is inside, as ``status_config_settled`` of the core.
    done : Out(1)
        The reset is complete. Low at least from the cycle after ``request`` rises until ``settled``
        and ``busy`` reflect the reset.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "request": In(1),
                "reset": Out(1),
                "push_reset": Out(1),
                "host_reset": Out(1),
                "busy": In(1),
                "settled": In(1),
                "done": Out(1, init=1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        reset_q = Signal()
        # `settled` follows a setting SETTLING_CYCLES later, and a reset likewise.
        recent = Signal(SETTLING_CYCLES + 2)
        m.d.sync += [
            self.reset.eq(self.request),
            self.push_reset.eq(self.request | self.reset),
            self.host_reset.eq(self.reset & ~reset_q),
            reset_q.eq(self.reset),
            recent.eq(Cat(self.request, recent)),
            self.done.eq(~(self.request | recent.any() | self.busy) & self.settled),
        ]
        return m
