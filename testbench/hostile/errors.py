# SPDX-License-Identifier: BSD-2-Clause
"""The error of the oracle."""

from __future__ import annotations


class HostileFailure(AssertionError):
    """No possible order of events explains the endpoint's behaviour.

    Attributes
    ----------
    lost
        Number of messages known to be lost, 0 for other failures.
    """

    def __init__(self, text: str, *, lost: int = 0) -> None:
        super().__init__(text)
        self.lost = lost
