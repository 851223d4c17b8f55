# SPDX-License-Identifier: BSD-2-Clause
"""Runs ``slice_tests.py`` on each installed simulator, and tests the framings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from slice_runner import SIMULATORS_AND_WIDTHS, run_slice

from testbench.stream.axis import AxisAssembler, AxisMessage
from testbench.stream.framing import StreamError
from testbench.stream.tlp import TlpAssembler
from testbench.tlp.packets import memory_write


@pytest.mark.parametrize(("simulator", "width"), SIMULATORS_AND_WIDTHS)
def test_streams_on_a_register_slice(simulator: str, width: int, tmp_path: Path):
    run_slice("slice", "slice_tests", simulator, width, tmp_path, at_least=40)


FULL = {"sop": 1, "eop": 1, "hdr": memory_write(0, bytes(8)).pack(), "strb": 0b0011, "data": 0}

INVALID_TLPS = {
    "no sop": ([{**FULL, "sop": 0}], "beat without sop outside a packet"),
    "two sops": (
        [{**FULL, "eop": 0, "strb": 0xF}, FULL],
        "sop before the eop of the previous packet",
    ),
    "hole": ([{**FULL, "strb": 0b0101}], "is not contiguous from lane 0"),
    "high lanes": ([{**FULL, "strb": 0b1100}], "is not contiguous from lane 0"),
    "short beat": ([{**FULL, "eop": 0}], "is not full before eop"),
    "empty beat": (
        [{**FULL, "eop": 0, "strb": 0xF}, {**FULL, "sop": 0, "strb": 0}],
        "beat after sop without data",
    ),
    "fourth dword": ([{**FULL, "hdr": FULL["hdr"] | 1}], "3-dword header is not zero"),
}


@pytest.mark.parametrize("name", INVALID_TLPS)
def test_tlp_framing_error_raises(name: str):
    beats, text = INVALID_TLPS[name]
    assembler = TlpAssembler("tx_tlp", 128)
    with pytest.raises(StreamError, match=f"tx_tlp: .*{text}"):
        for beat in beats:
            assembler.feed(beat)


def transfer(keep: int, last: int = 1, fifo: int = 2) -> dict[str, Any]:
    return {"tdata": 0x0807060504030201, "tkeep": keep, "tlast": last, "tdest": fifo}


INVALID_MESSAGES = {
    "hole": ([transfer(0b101)], "is not contiguous from lane 0"),
    "nothing": ([transfer(0)], "is not contiguous from lane 0"),
    "short transfer": ([transfer(0b111, last=0)], "is not full before tlast"),
    "tdest": ([transfer(0xFF, last=0), transfer(0xFF, fifo=3)], "tdest changed from 2 to 3"),
}


@pytest.mark.parametrize("name", INVALID_MESSAGES)
def test_message_framing_error_raises(name: str):
    beats, text = INVALID_MESSAGES[name]
    assembler = AxisAssembler("m_axis_msg", 64)
    with pytest.raises(StreamError, match=f"m_axis_msg: .*{text}"):
        for beat in beats:
            assembler.feed(beat)


def test_message_of_two_transfers():
    assembler = AxisAssembler("m_axis_msg", 64)
    assert assembler.feed(transfer(0xFF, last=0)) is None
    assert assembler.partial
    assert assembler.feed(transfer(0b11)) == AxisMessage(2, bytes([1, 2, 3, 4, 5, 6, 7, 8, 1, 2]))
    assert not assembler.partial
