# SPDX-License-Identifier: BSD-2-Clause
"""The message trace: decoded and undecodable messages, as JSON lines and as text."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from models.bus import Direction
from testbench.trace import MessageTrace, TraceEntry

MESSAGES = json.loads((Path(__file__).parents[1] / "data" / "messages_v1.json").read_text())


class Decoded:
    def __init__(self, raw: bytes, revision: str) -> None:
        if len(raw) < 2:
            raise ValueError("message is 1 byte: must be 2 or more")
        self.raw, self.revision = raw, revision

    def to_json(self) -> dict[str, Any]:
        return {"first": self.raw[0], "revision": self.revision}


def make_trace(**options: Any) -> MessageTrace:
    clock = count(start=10, step=90)
    return MessageTrace(
        revision="r1",
        decode=Decoded,
        describe=lambda message: f"first {message.raw[0]}",
        now=lambda: float(next(clock)),
        **options,
    )


def test_text_is_aligned(tmp_path: Path):
    trace = make_trace()
    trace.record(Direction.TO_DEVICE, 0, b"\x05\x06")
    trace.record(Direction.TO_DRIVER, 1, b"\x07\x08")
    trace.write_text(tmp_path / "build" / "trace.txt")
    assert (tmp_path / "build" / "trace.txt").read_text().splitlines() == [
        "        10.0 ns  driver→device  fifo 0  first 5",
        "       100.0 ns  device→driver  fifo 1  first 7",
    ]


def test_json_lines(tmp_path: Path):
    trace = make_trace()
    trace.record(Direction.TO_DEVICE, 0, b"\x05\x06")
    trace.record(Direction.TO_DRIVER, 1, b"\x07")
    trace.write_json_lines(tmp_path / "trace.jsonl")
    lines = (tmp_path / "trace.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {
            "time_ns": 10.0,
            "direction": "driver→device",
            "fifo": 0,
            "raw": "0506",
            "message": {"first": 5, "revision": "r1"},
        },
        {
            "time_ns": 100.0,
            "direction": "device→driver",
            "fifo": 1,
            "raw": "07",
            "error": "message is 1 byte: must be 2 or more",
        },
    ]
    assert str(trace.entries[1]).endswith("fifo 1  07  (message is 1 byte: must be 2 or more)")


def test_on_entry_is_called_with_each_entry():
    seen: list[TraceEntry] = []
    trace = make_trace(on_entry=seen.append)
    trace.record(Direction.TO_DEVICE, 0, b"\x05\x06")
    assert (
        seen == trace.entries
        and trace.count(Direction.TO_DEVICE) == 1
        and trace.count(Direction.TO_DRIVER) == 0
    )


@pytest.mark.parametrize("case", MESSAGES, ids=lambda case: f"{case['message']} {case['kind']}")
def test_real_messages_decode_by_default(case: dict[str, Any]):
    trace = MessageTrace(now=lambda: 0.0)
    entry = trace.record(Direction.TO_DEVICE, 0, bytes.fromhex(case["wire"]))
    assert entry.error is None
    assert case["message"] in entry.description
    assert entry.to_json()["message"]["message"] == case["message"]
