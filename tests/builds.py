# SPDX-License-Identifier: BSD-2-Clause
"""What the builds of all tests have in common, so that they are the same builds."""

COMPLETION_TIMEOUT = 8192
"""Cycles: longer than the slowest host that the tests have, and soon over."""
