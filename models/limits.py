# SPDX-License-Identifier: BSD-2-Clause
"""Wording of limits in error texts."""

from __future__ import annotations


def span(low: int, high: int) -> str:
    """Text of a range: ``8 to 48``, or ``48`` if the range has one value."""
    return str(low) if low == high else f"{low} to {high}"
