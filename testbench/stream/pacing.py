# SPDX-License-Identifier: BSD-2-Clause
"""Idle and back-pressure generators for streams.

A generator yields one number of clock cycles for each beat: how long a source stays idle before it
asserts valid, or how long a sink stalls the beat. Pacing counts beats rather than cycles, so that
an idle stream needs no clock edges.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from itertools import cycle, repeat


def never() -> Iterator[int]:
    """No pauses: full throughput."""
    return repeat(0)


def every(pattern: Iterable[int]) -> Iterator[int]:
    """The pauses of ``pattern``, in cycles, repeated endlessly."""
    return cycle(pattern)


def randomly(seed: int, probability: float = 0.5, longest: int = 5) -> Iterator[int]:
    """Pseudo-random pauses.

    Parameters
    ----------
    seed
        Seed of the generator.
    probability
        Probability of a pause before a beat, 0 to 1.
    longest
        Longest pause in cycles; lengths are uniform from 1.
    """
    if not 0 <= probability <= 1:
        raise ValueError(f"probability is {probability}: must be 0 to 1")
    if longest < 1:
        raise ValueError(f"longest is {longest}: must be 1 or more")
    generator = random.Random(seed)
    while True:
        yield generator.randint(1, longest) if generator.random() < probability else 0
