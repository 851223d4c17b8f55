# SPDX-License-Identifier: BSD-2-Clause
"""What cocotbext-pcie's models of Intel's hard blocks leave out."""

from __future__ import annotations

from collections import deque
from typing import Any

TELLING_CYCLES = 40
"""Cycles in which a block tells all of configuration space, and some for the design to hear it."""
SENDER_LATENCY = 3


async def watch_for_gaps(dut: Any, *, clk: Any) -> None:
    """See that no packet that leaves the design pauses while the block is ready for it."""
    ready = deque([False] * SENDER_LATENCY)
    inside = False
    while True:
        await clk.rising_edge
        ready.append(dut.tx_st_ready.value == "1")
        if dut.tx_st_valid.value.is_resolvable and int(dut.tx_st_valid.value):
            inside = not int(dut.tx_st_eop.value)
        else:
            assert not (inside and ready[0]), "a packet pauses though the block is ready"
        ready.popleft()
