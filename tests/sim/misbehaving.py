# SPDX-License-Identifier: BSD-2-Clause
"""cocotb tests that a runner must report as failed, and one that passes."""

import os

import cocotb
from cocotb.triggers import Timer


@cocotb.test(timeout_time=1, timeout_unit="us")
async def passes(dut):
    """Passes."""
    await Timer(1, "ns")


@cocotb.test(timeout_time=1, timeout_unit="us")
async def fails(dut):
    """Fails an assertion."""
    await Timer(1, "ns")
    raise AssertionError("on purpose")


@cocotb.test(timeout_time=1, timeout_unit="us")
async def hangs(dut):
    """Waits until the time limit ends it."""
    await dut.tx_tlp_valid.rising_edge


@cocotb.test(timeout_time=1, timeout_unit="us")
async def prints_like_an_assertion(dut):
    """Prints a failed assertion of the gateware as Icarus does, and continues."""
    print("\nERROR: on purpose", flush=True)
    await Timer(1, "ns")


@cocotb.test(timeout_time=1, timeout_unit="us")
async def dies(dut):
    """Ends the simulator's process."""
    os._exit(3)
