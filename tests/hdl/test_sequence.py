# SPDX-License-Identifier: BSD-2-Clause
"""Sequence numbers: each write is signalled as gone once, in order, even if its number is lost."""

import random

import pytest
from simulation import simulate

from hdl.shims.function_reset import FunctionResetHandshake
from hdl.shims.sequence import DroppedWrites, SequenceNumbers


@pytest.mark.parametrize("bits, ports", [(3, 1), (5, 2)])
@pytest.mark.parametrize("dropped", [0.0, 0.3])
def test_each_write_is_gone_once_and_in_order(bits, ports, dropped):
    dut = SequenceNumbers(bits, ports=ports)
    rng = random.Random(bits)
    in_flight, gone, taken = [], 0, 0

    async def bench(ctx):
        nonlocal gone, taken
        for cycle in range(600):
            draining = cycle > 500
            takes = bool(ctx.get(dut.has_space)) and not draining and rng.random() < 0.7
            ctx.set(dut.accepted, takes)
            number = ctx.get(dut.number)
            ctx.set(dut.flush, draining)
            returned = [0] * ports
            for port in range(ports):
                while in_flight and rng.random() < dropped:
                    in_flight.pop(0)
                if in_flight and rng.random() < 0.5:
                    returned[port] = 1
                    ctx.set(dut.returned_number[port], in_flight.pop(0))
                else:
                    ctx.set(dut.returned_number[port], rng.getrandbits(bits))
            ctx.set(dut.returned, sum(bit << port for port, bit in enumerate(returned)))
            if takes:
                in_flight.append(number)
                taken += 1
            gone += ctx.get(dut.gone)
            assert gone <= taken and taken - gone < 1 << bits
            await ctx.tick()
        assert gone == taken > 100

    simulate(dut, bench)


def test_number_not_in_flight_is_ignored():
    dut = SequenceNumbers(3)

    async def bench(ctx):
        ctx.set(dut.accepted, 1)
        await ctx.tick().repeat(2)
        ctx.set(dut.accepted, 0)
        ctx.set(dut.returned, 1)
        for number in (2, 5, 7):
            ctx.set(dut.returned_number[0], number)
            await ctx.tick()
            assert not ctx.get(dut.gone)
        ctx.set(dut.returned_number[0], 1)
        await ctx.tick()
        ctx.set(dut.returned, 0)
        for _ in range(2):
            assert ctx.get(dut.gone)
            await ctx.tick()
        assert not ctx.get(dut.gone)

    simulate(dut, bench)


@pytest.mark.parametrize("bits, ports", [(0, 1), (3, 0)])
def test_parameters_are_checked(bits, ports):
    with pytest.raises(ValueError, match=f"bits is {bits}, ports is {ports}: must be 1 or more"):
        SequenceNumbers(bits, ports=ports)


@pytest.mark.parametrize("off", [1, 3, 7, 8, 9, 30])
def test_dropped_writes_are_flushed_after_the_fall(off):
    """Bus mastering is off for any time; no write begins before the flush."""
    cycles = 8
    dut = DroppedWrites(cycles)

    async def bench(ctx):
        for _ in range(2):
            ctx.set(dut.bus_master_enable, 1)
            await ctx.tick()
            assert not ctx.get(dut.flush) and not ctx.get(dut.hold)
            flushed = False
            for cycle in range(cycles + off + 4):
                on = cycle >= off
                ctx.set(dut.bus_master_enable, on)
                flushed |= bool(ctx.get(dut.flush))
                assert ctx.get(dut.flush) == (cycles <= cycle <= max(off, cycles))
                assert ctx.get(dut.hold) == (on and cycle <= max(off, cycles))
                await ctx.tick()
            assert flushed

    simulate(dut, bench)


def test_cycles_are_checked():
    with pytest.raises(ValueError, match="cycles is 0: must be 1 or more"):
        DroppedWrites(0)


@pytest.mark.parametrize("busy", [1, 5, 30])
def test_function_reset_is_requested_and_acknowledged_once(busy):
    dut = FunctionResetHandshake()

    async def bench(ctx):
        for _ in range(2):
            ctx.set(dut.in_process, 1)
            ctx.set(dut.done, 1)
            assert ctx.get(dut.reset) and not ctx.get(dut.acknowledge)
            await ctx.tick()
            ctx.set(dut.done, 0)
            for _ in range(busy):
                assert not ctx.get(dut.reset) and not ctx.get(dut.acknowledge)
                await ctx.tick()
            ctx.set(dut.done, 1)
            assert ctx.get(dut.acknowledge)
            await ctx.tick()
            for _ in range(3):
                assert not ctx.get(dut.reset) and not ctx.get(dut.acknowledge)
                await ctx.tick()
            ctx.set(dut.in_process, 0)
            await ctx.tick().repeat(2)

    simulate(dut, bench)
