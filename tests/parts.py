# SPDX-License-Identifier: BSD-2-Clause
"""Parts of a test run, for machines that have no time for all of it."""

import argparse


def part(text):
    """``N/PARTS`` as two numbers."""
    number, _, parts = text.partition("/")
    if not (number.isdecimal() and parts.isdecimal() and 1 <= int(number) <= int(parts)):
        raise argparse.ArgumentTypeError(f"is {text}: must be N/PARTS, N from 1 to PARTS")
    return int(number), int(parts)


def split(items, number, parts):
    """The items of a part, and the others; neighbours, which cost alike, are in different parts."""
    others = [item for place, item in enumerate(items) if (place - number + 1) % parts]
    return items[number - 1 :: parts], others
