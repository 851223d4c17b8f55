# SPDX-License-Identifier: BSD-2-Clause
"""What the oracle raises."""

from __future__ import annotations


class HostileFailure(AssertionError):
    """The endpoint did what no order of events explains, or did not do what it must.

    Attributes
    ----------
    lost
        Messages that are known to be lost, 0 where something else went wrong.
    """

    def __init__(self, text: str, *, lost: int = 0) -> None:
        super().__init__(text)
        self.lost = lost
