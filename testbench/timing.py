# SPDX-License-Identifier: BSD-2-Clause
"""Clock period and length of resets in all simulations."""

CLOCK_PERIOD_NS = 4
RESET_CYCLES = 5
