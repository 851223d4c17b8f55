# SPDX-License-Identifier: BSD-2-Clause
"""Idle and back-pressure generators for streams.

A generator yields, for each beat, a number of clock cycles: those that a source stays idle before
it offers the beat, or those that a sink lets the beat wait. Counting per beat instead of per clock
lets the streams sleep while nothing moves.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from itertools import cycle, repeat


def never() -> Iterator[int]:
    """No pause at all: full throughput."""
    return repeat(0)


def every(pattern: Iterable[int]) -> Iterator[int]:
    """The pauses of ``pattern``, in cycles, over and over."""
    return cycle(pattern)


def randomly(seed: int, probability: float = 0.5, longest: int = 5) -> Iterator[int]:
    """Pauses that a seed decides.

    Parameters
    ----------
    seed
        The same seed gives the same pauses.
    probability
        Chance of a pause before a beat, 0 to 1.
    longest
        Cycles of the longest pause; lengths are uniform from 1.
    """
    if not 0 <= probability <= 1:
        raise ValueError(f"probability is {probability}: must be 0 to 1")
    if longest < 1:
        raise ValueError(f"longest is {longest}: must be 1 or more")
    generator = random.Random(seed)
    while True:
        yield generator.randint(1, longest) if generator.random() < probability else 0
