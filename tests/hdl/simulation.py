# SPDX-License-Identifier: BSD-2-Clause
"""Run the benches of a component."""

from amaranth.sim import Simulator


def simulate(dut, *benches, background=()):
    """Clock a component until its ``benches`` end; those in the ``background`` need not end.

    A combinational component has no clock.
    """
    simulator = Simulator(dut)
    simulator.add_clock(1e-6, if_exists=True)
    for bench in background:
        simulator.add_testbench(bench, background=True)
    for bench in benches:
        simulator.add_testbench(bench)
    simulator.run()
