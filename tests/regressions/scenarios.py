# SPDX-License-Identifier: BSD-2-Clause
"""The scenarios on the gateware, in each revision, exchange the messages of the pure model."""

import os

import cocotb

from models import virtual_time
from models.messages import R1
from testbench.system import GatewareSystem
from tests.scenarios import SCENARIOS, Traces, devices, programs, pure_traces

SCENARIO_NAMES = os.environ.get("SCENARIOS", " ".join(SCENARIOS)).split()


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(revision=["v1", "r1"], name=SCENARIO_NAMES)
async def messages_match_the_pure_model(dut, revision, name):
    """Every FIFO and direction carries the same bytes in the same order."""
    await compare(dut, revision, name)


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def revision_v1_1_messages_match_the_pure_model(dut):
    """Revision v1.1 has other messages than v1 and r1; the gateware interprets none."""
    await compare(dut, "v1.1", "bring_up")


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def messages_smaller_than_a_slot_match_the_pure_model(dut):
    """The smallest size that transport revision 1 allows, both ways; the rest of a slot is zero."""
    await compare(dut, R1.on_bus(max_size=52), "bring_up")


async def compare(dut, revision, name):
    """Run scenario ``name`` here and on the pure model, and compare the messages."""
    num_fifos = len(dut.device_queue_ready)
    system = GatewareSystem(dut, devices(num_fifos), revision=revision)
    traces = Traces(system)
    await system.start()
    for task in [cocotb.start_soon(program) for program in programs(name, system)]:
        await task
    await system.finish()
    assert not any(driver.unclaimed for driver in system.drivers)
    parameters = system.parameters
    expected = virtual_time.run(
        pure_traces(name, num_fifos, revision, shell=parameters.shell, layout=parameters.layout)
    )
    for key in expected | traces.messages:
        assert traces.messages[key] == expected.get(key), key
