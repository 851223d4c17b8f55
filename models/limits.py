# SPDX-License-Identifier: BSD-2-Clause
"""How errors name a limit."""

from __future__ import annotations


def span(low: int, high: int) -> str:
    """What a number may be: ``8 to 48``, or ``48`` where that is the only one."""
    return str(low) if low == high else f"{low} to {high}"
