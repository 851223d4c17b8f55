# SPDX-License-Identifier: BSD-2-Clause
"""Function-level reset of a hard block that waits until the function is reset."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["FunctionResetHandshake"]


class FunctionResetHandshake(wiring.Component):
    """Resets the function once per request of the block and acknowledges completion.

    Attributes
    ----------
    in_process : In(1)
        Request of the block; high until acknowledged.
    reset : Out(1)
        One-cycle pulse: reset the function. ``done`` is low in the next cycle.
    done : In(1)
        The reset is complete: nothing from before it is inside.
    acknowledge : Out(1)
        One-cycle pulse: the reset is complete.
    """

    def __init__(self):
        super().__init__(
            {"in_process": In(1), "reset": Out(1), "done": In(1), "acknowledge": Out(1)}
        )

    def elaborate(self, platform):
        m = Module()
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.reset.eq(self.in_process)
                with m.If(self.in_process):
                    m.next = "UNDER WAY"
            with m.State("UNDER WAY"):
                m.d.comb += self.acknowledge.eq(self.done)
                with m.If(self.done):
                    m.next = "DONE"
            with m.State("DONE"), m.If(~self.in_process):
                m.next = "IDLE"
        return m
