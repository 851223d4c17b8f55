# SPDX-License-Identifier: BSD-2-Clause
"""Helpers shared by the tests of the models."""

import asyncio
import json
from pathlib import Path

from hypothesis import settings

DATA = Path(__file__).parent.parent / "data"
VECTORS = json.loads((DATA / "messages_v1.json").read_text())
TRACES = json.loads((DATA / "spsc_traces.json").read_text())

FIXED = settings(derandomize=True, deadline=None, database=None, max_examples=150)
"""Hypothesis settings with the same examples on every run."""


def vector_id(vector):
    return f"{vector['message']}-{vector['kind']}-{vector['wire'][4:24]}"


async def settle(rounds=20):
    """Let all ready tasks run."""
    for _ in range(rounds):
        await asyncio.sleep(0)
