# SPDX-License-Identifier: BSD-2-Clause
"""cocotb tests that do what a runner must not let pass."""

import os

import cocotb
from cocotb.triggers import Timer


@cocotb.test(timeout_time=1, timeout_unit="us")
async def passes(dut):
    """Nothing wrong."""
    await Timer(1, "ns")


@cocotb.test(timeout_time=1, timeout_unit="us")
async def fails(dut):
    """A failed assertion."""
    await Timer(1, "ns")
    raise AssertionError("on purpose")


@cocotb.test(timeout_time=1, timeout_unit="us")
async def hangs(dut):
    """Waits for what never comes; the time-out ends it."""
    await dut.tx_tlp_valid.rising_edge


@cocotb.test(timeout_time=1, timeout_unit="us")
async def prints_like_an_assertion(dut):
    """What Icarus prints for a failed assertion of the gateware, and goes on."""
    print("\nERROR: on purpose", flush=True)
    await Timer(1, "ns")


@cocotb.test(timeout_time=1, timeout_unit="us")
async def dies(dut):
    """The simulator is gone."""
    os._exit(3)
