# SPDX-License-Identifier: BSD-2-Clause
"""Helpers shared by the tests of the models."""

import asyncio
import json
from pathlib import Path

from hypothesis import settings

from models.messages import decode, request
from models.transport import Transport

DATA = Path(__file__).parent.parent / "data"
VECTORS = json.loads((DATA / "messages_v1.json").read_text())
TRACES = json.loads((DATA / "spsc_traces.json").read_text())

FIXED = settings(derandomize=True, deadline=None, database=None, max_examples=150)
"""Hypothesis settings with the same examples on every run."""


def vector_id(vector):
    return f"{vector['message']}-{vector['kind']}-{vector['wire'][4:24]}"


class Exchange:
    """Transport that keeps its responses; ``ask`` handles a message and returns the response."""

    def __init__(self, devices, revision="v1"):
        self.sent = []
        self.revision = revision
        self.transport = Transport(devices, self._send, revision)
        self.reasons = []
        self.transport.drop_observers.append(lambda reason, text, raw: self.reasons.append(text))

    async def _send(self, raw):
        self.sent.append(raw)

    def ask_bytes(self, raw):
        before = len(self.sent)
        asyncio.run(self.transport.receive(raw))
        return [decode(raw, self.revision) for raw in self.sent[before:]]

    def ask(self, message):
        """Handle ``message`` and return its only response."""
        (answer,) = self.ask_bytes(message.wire())
        return answer


RING = {"descriptor_addr": 0x1000, "driver_addr": 0x2000, "device_addr": 0x3000}


def ask(exchange, name, dev_num=0, token=0x1234, **fields):
    message = request(name, dev_num=dev_num, token=token, revision=exchange.revision, **fields)
    answer = exchange.ask(message)
    assert (answer.name, answer.kind, answer.dev_num) == (name, "response", dev_num)
    assert answer.token == token
    return answer


def bring_up(exchange, dev_num=0, features=(0, 3)):
    for status in (0, 1, 3):
        ask(exchange, "SET_DEVICE_STATUS", dev_num, status=status)
    ask(exchange, "SET_FEATURES", dev_num, index=0, features=list(features))
    ask(exchange, "SET_DEVICE_STATUS", dev_num, status=0xB)
    ask(exchange, "SET_VQUEUE", dev_num, index=0, size=64, **RING)
    answer = ask(exchange, "SET_DEVICE_STATUS", dev_num, status=0xF)
    assert answer.status == 0xF


def dropped(exchange, raw, reason):
    before = exchange.transport.drops[reason]
    assert exchange.ask_bytes(raw) == []
    assert exchange.transport.drops[reason] == before + 1


async def settle(rounds=20):
    """Let all ready tasks run."""
    for _ in range(rounds):
        await asyncio.sleep(0)
