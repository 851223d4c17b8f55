# SPDX-License-Identifier: BSD-2-Clause
"""Parts of a test run, for machines too slow for all of it."""

import argparse


def part(text):
    """Parse ``N/PARTS`` into two numbers."""
    number, _, parts = text.partition("/")
    if not (number.isdecimal() and parts.isdecimal() and 1 <= int(number) <= int(parts)):
        raise argparse.ArgumentTypeError(f"is {text}: must be N/PARTS, N from 1 to PARTS")
    return int(number), int(parts)


def split(items, number, parts):
    """Return the items of a part, and the others.

    Neighbours take about the same time, so that they are in different parts.
    """
    others = [item for index, item in enumerate(items) if (index - number + 1) % parts]
    return items[number - 1 :: parts], others
