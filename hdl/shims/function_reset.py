# SPDX-License-Identifier: BSD-2-Clause
"""A hard block's function-level reset, which it waits for the function to carry out."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["FunctionResetHandshake"]


class FunctionResetHandshake(wiring.Component):
    """Resets the function once each time that the block asks, and says when that is done.

    Attributes
    ----------
    in_process : In(1)
        The block waits; high until it is told.
    reset : Out(1)
        One-cycle pulse: reset the function. The cycle after, ``done`` is low.
    done : In(1)
        Nothing of before is left.
    acknowledge : Out(1)
        One-cycle pulse: tells the block.
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
