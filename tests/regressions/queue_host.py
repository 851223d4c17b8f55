# SPDX-License-Identifier: BSD-2-Clause
"""Shared by the tests of the queues: the bench, the seed, pulse counters and settings."""

import os

import cocotb

from models import config_space as space
from testbench.parameters import parameters
from testbench.queue_bench import QueueBench, slot_bytes
from testbench.tlp import CplStatus
from testbench.tlp.pins import settled

__all__ = [
    "FULL",
    "QUEUE",
    "SEED",
    "PulseCounter",
    "QueueBench",
    "expect_unsupported",
    "set_bus_mastering",
    "set_pins",
    "set_sizes",
    "slot_bytes",
]

SEED = int(os.environ["COCOTB_RANDOM_SEED"])
QUEUE = parameters().layout.queue
"""Layout of a queue."""
FULL = QUEUE.capacity - 1
"""Number of messages that fit into a queue."""


class PulseCounter:
    """Counts the cycles in which each bit of a signal is high."""

    def __init__(self, signal):
        self._signal = signal
        self._counts = {}
        cocotb.start_soon(self._run())

    @property
    def total(self):
        return sum(self._counts.values())

    def clear(self):
        self._counts.clear()

    def counts(self, bits):
        return [self._counts.get(bit, 0) for bit in range(bits)]

    async def _run(self):
        edge = cocotb.top.clk.rising_edge
        while True:
            await edge
            value, bit = int(self._signal.value), 0
            while value >> bit:
                self._counts[bit] = self._counts.get(bit, 0) + (value >> bit & 1)
                bit += 1


async def expect_unsupported(bench, tlp):
    """Expect one Unsupported Request completion; the monitor checks its other fields."""
    (completion,) = await bench.host.request(tlp)
    assert completion.status == CplStatus.UR and not completion.payload, f"{tlp} got {completion}"


async def set_pins(bench, **pins):
    """Change pins as a hard block does: return when they are in effect.

    The hard block completes the configuration write then.
    """
    bench.host.set_pins(**pins)
    await settled(bench.dut, clk=bench.dut.clk)


async def set_sizes(bench, *, payload=None, read_request=None):
    """Set Max_Payload_Size and Max_Read_Request_Size; return when they are in effect."""
    fields = {space.MAX_PAYLOAD_SIZE: payload, space.MAX_READ_REQUEST_SIZE: read_request}
    codes = {field: code for field, code in fields.items() if code is not None}
    if bench.parameters.top == "core":
        pins = {space.MAX_PAYLOAD_SIZE: "max_payload_size"}
        pins[space.MAX_READ_REQUEST_SIZE] = "max_read_request_size"
        await set_pins(bench, **{pins[field]: code for field, code in codes.items()})
        return
    control = await bench.host.config_read(space.DEVICE_CONTROL, 2)
    for field, code in codes.items():
        control = control & ~field.mask | code << field.lsb
    await bench.host.config_write(space.DEVICE_CONTROL, control, 2)


async def set_bus_mastering(bench, on):
    """Set Bus Master Enable; return when it is in effect."""
    if bench.parameters.top == "core":
        await set_pins(bench, bus_master_enable=int(on))
        return
    command = space.MEMORY_SPACE_ENABLE.mask | on * space.BUS_MASTER_ENABLE.mask
    await bench.host.config_write(space.COMMAND, command, 2)
