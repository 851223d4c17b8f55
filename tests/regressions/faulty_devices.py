# SPDX-License-Identifier: BSD-2-Clause
"""Devices whose code raises, behind the gateware: each entry point fails alone."""

import cocotb
from cocotb.triggers import Timer

from testbench.system import GatewareSystem
from tests.faulty import FAULTS, check, devices


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(name=list(FAULTS))
async def raising_device_needs_reset(dut, name):
    """The request is answered, the driver gets NEEDS_RESET, and the other device still works."""
    system = GatewareSystem(dut, [devices(name)])
    await system.start()
    await check(system, name, lambda: Timer(2, "us"))
    await system.finish()
