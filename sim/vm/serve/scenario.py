# SPDX-License-Identifier: BSD-2-Clause
"""The server on the cocotb engine, as a cocotb test."""

from __future__ import annotations

import os
from typing import Any

import cocotb

from testbench.system import GatewareSystem

from ..bridge.gateware import GatewareFunction
from .control import CONTROL, ControlChannel
from .service import MAX_PAYLOAD_SIZE, Session


@cocotb.test()
async def serve(dut: Any) -> None:
    """Serve until the command closes its end of the control channel."""
    session = Session(ControlChannel.connect(os.environ[CONTROL]))
    system = GatewareSystem(
        dut,
        session.devices.by_fifo,
        revision=session.revision,
        drivers=False,
        max_payload_size=MAX_PAYLOAD_SIZE,
    )
    await session.serve(GatewareFunction(system))
