# SPDX-License-Identifier: BSD-2-Clause
"""What runs the benches of components."""

from amaranth.sim import Simulator


def simulate(dut, *benches, background=()):
    """Run a component, clocked, until its ``benches`` are done; those in the ``background`` need
    not be."""
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    for bench in background:
        simulator.add_testbench(bench, background=True)
    for bench in benches:
        simulator.add_testbench(bench)
    simulator.run()
