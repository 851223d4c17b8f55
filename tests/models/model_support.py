# SPDX-License-Identifier: BSD-2-Clause
"""What several tests of the models share."""

import asyncio
import json
from pathlib import Path

from hypothesis import settings

from models.messages import decode
from models.transport import Transport

DATA = Path(__file__).parent.parent / "data"
VECTORS = json.loads((DATA / "messages_v1.json").read_text())
TRACES = json.loads((DATA / "spsc_traces.json").read_text())

FIXED = settings(derandomize=True, deadline=None, database=None, max_examples=150)
"""Hypothesis with the same examples on every run."""


def vector_id(vector):
    return f"{vector['message']}-{vector['kind']}-{vector['wire'][4:24]}"


class Exchange:
    """A transport whose answers are kept; ``ask`` gives a message and returns what it sent."""

    def __init__(self, devices):
        self.sent = []
        self.transport = Transport(devices, self._send)
        self.reasons = []
        self.transport.drop_observers.append(lambda reason, text, raw: self.reasons.append(text))

    async def _send(self, raw):
        self.sent.append(raw)

    def ask_bytes(self, raw):
        before = len(self.sent)
        asyncio.run(self.transport.receive(raw))
        return [decode(raw) for raw in self.sent[before:]]

    def ask(self, message):
        """The one answer to ``message``."""
        (answer,) = self.ask_bytes(message.wire())
        return answer


async def settle(rounds=20):
    """Let every task that can go on do so."""
    for _ in range(rounds):
        await asyncio.sleep(0)
