# SPDX-License-Identifier: BSD-2-Clause
"""Idle and back-pressure generators."""

from __future__ import annotations

from itertools import islice

import pytest

from testbench.stream import pacing


def test_pacing_patterns():
    assert list(islice(pacing.never(), 3)) == [0, 0, 0]
    assert list(islice(pacing.every([1, 0, 4]), 5)) == [1, 0, 4, 1, 0]
    first = list(islice(pacing.randomly(7, 0.5, 3), 1000))
    assert first == list(islice(pacing.randomly(7, 0.5, 3), 1000))
    assert first != list(islice(pacing.randomly(8, 0.5, 3), 1000))
    assert set(first) == {0, 1, 2, 3} and 400 < first.count(0) < 600
    assert set(islice(pacing.randomly(7, 0.0), 100)) == {0}
    assert 0 not in islice(pacing.randomly(7, 1.0), 100)


def test_invalid_pacing_raises():
    with pytest.raises(ValueError, match="probability is 2: must be 0 to 1"):
        next(pacing.randomly(1, 2))
    with pytest.raises(ValueError, match="longest is 0: must be 1 or more"):
        next(pacing.randomly(1, 0.5, 0))
