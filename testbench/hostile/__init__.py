# SPDX-License-Identifier: BSD-2-Clause
"""A hostile host and a misbehaving device side, and an oracle that knows what must hold all along.

:mod:`~testbench.hostile.actions` has what they do, :mod:`~testbench.hostile.machine` lets
Hypothesis choose among it, and :mod:`~testbench.hostile.fuzz` is the cocotb test. The oracle
follows every order in which the stores of the host and the steps of the engines can have met: where
the host behaves one is left and messages are accounted for exactly, and where it races what comes
out is still bounded by what it wrote.
"""
