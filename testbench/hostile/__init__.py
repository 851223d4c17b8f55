# SPDX-License-Identifier: BSD-2-Clause
"""A hostile host and a misbehaving device side, with an oracle for the endpoint.

:mod:`~testbench.hostile.actions` has their actions, :mod:`~testbench.hostile.machine` lets
Hypothesis choose among them, and :mod:`~testbench.hostile.fuzz` is the cocotb test. The oracle
follows every possible order of the host's stores and the engines' steps. For a well-behaved host
only one order remains, and messages are accounted for exactly; for a racing host, messages are
still limited to data that it has written.
"""
