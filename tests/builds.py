# SPDX-License-Identifier: BSD-2-Clause
"""Build parameters that all tests share, so that they share the builds."""

BUILDS = {"endpoint": (2, 128), "core": (3, 64)}
"""Number of FIFOs and data width of each top that ``make test`` builds with Verilator."""

COMPLETION_TIMEOUT = 8192
"""In cycles: longer than the slowest host of the tests takes, and short enough to wait for."""
