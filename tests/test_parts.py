# SPDX-License-Identifier: BSD-2-Clause
"""Every test is in exactly one part of a test run."""

import argparse
from itertools import chain

import pytest
from parts import part, split


@pytest.mark.parametrize("parts", [1, 3, 4, 11])
def test_every_item_is_in_exactly_one_part(parts):
    items = list(range(10))
    chosen, others = zip(
        *(split(items, *part(f"{number + 1}/{parts}")) for number in range(parts)), strict=True
    )
    assert sorted(chain(*chosen)) == items
    for inside, outside in zip(chosen, others, strict=True):
        assert sorted(inside + outside) == items


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "x/y", "-1/3"])
def test_invalid_part_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="must be N/PARTS, N from 1 to PARTS"):
        part(text)
