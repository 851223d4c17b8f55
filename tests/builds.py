# SPDX-License-Identifier: BSD-2-Clause
"""What the builds of all tests have in common, so that they are the same builds."""

BUILDS = {"endpoint": (2, 128), "core": (3, 64)}
"""Number of FIFOs and data width of each top that ``make test`` builds with Verilator."""

COMPLETION_TIMEOUT = 8192
"""Cycles: longer than the slowest host that the tests have, and soon over."""
