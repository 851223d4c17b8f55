# SPDX-License-Identifier: BSD-2-Clause
"""DMA writes and MSI-X writes in one stream: whole, each in its order, and no cycle lost."""

import random

import pytest
from simulation import simulate

from hdl.block_options import BlockOptions
from hdl.dma.confirmations import CONFIRMATIONS
from hdl.tlp import DATA_WIDTHS
from hdl.write_merger import WriteMerger

INTERRUPT = 1 << 20
NUMBERED = BlockOptions(sequence_numbers=True)


def run(width, lengths, interrupts, *, block=None, idle=0.0, stall=0.0, confirm=0.0, silent=0):
    """Send writes of ``lengths`` beats and ``interrupts`` MSI-X writes; confirm none in the first
    ``silent`` cycles.

    Returns the beats sent as (header, beat, length), the cycle of each, and the number of writes
    confirmed.
    """
    dut = WriteMerger(width, block or BlockOptions())
    rng = random.Random(width)
    total = sum(lengths) + interrupts
    left, cycles, confirmed = [], [], []

    async def write(ctx):
        beat = dut.writes.p
        for number, length in enumerate(lengths):
            for place in range(length):
                while rng.random() < idle:
                    await ctx.tick()
                ctx.set(dut.writes.valid, 1)
                ctx.set(beat.hdr, number)
                ctx.set(beat.data, place << 8 | length)
                ctx.set(beat.strb, (1 << width // 32) - 1)
                ctx.set(beat.sop, place == 0)
                ctx.set(beat.eop, place == length - 1)
                await ctx.tick().until(dut.writes.ready)
                ctx.set(dut.writes.valid, 0)

    async def interrupt(ctx):
        beat = dut.interrupts.p
        for number in range(interrupts):
            while rng.random() < idle:
                await ctx.tick()
            ctx.set(dut.interrupts.valid, 1)
            ctx.set(beat.hdr, INTERRUPT + number)
            ctx.set(beat.data, 1)
            for name in ("strb", "sop", "eop"):
                ctx.set(beat[name], 1)
            await ctx.tick().until(dut.interrupts.ready)
            ctx.set(dut.interrupts.valid, 0)

    async def take(ctx):
        offered = None
        cycle = 0
        p = dut.o.p
        while len(left) < total:
            ready = rng.random() >= stall
            ctx.set(dut.o.ready, ready)
            confirms = cycle >= silent and rng.random() < confirm
            ctx.set(dut.confirmed, confirms)
            values = (dut.o.valid, p.hdr, p.data, p.strb, p.sop, p.eop, dut.write_confirmed)
            _, _, valid, header, data, strb, sop, eop, done = await ctx.tick().sample(*values)
            cycle += 1
            if done:
                confirmed.append(cycle)
            if offered is not None:
                assert valid and (header, data, sop, eop) == offered, "a valid beat changed"
            offered = (header, data, sop, eop) if valid and not ready else None
            if valid and ready:
                assert sop == (data >> 8 == 0) and eop == (data >> 8 == (data & 0xFF) - 1)
                assert strb == (1 if header >= INTERRUPT else (1 << width // 32) - 1)
                left.append((header, data >> 8, data & 0xFF))
                cycles.append(cycle)

    simulate(dut, take, background=[write, interrupt])
    return left, cycles, len(confirmed)


@pytest.mark.parametrize("width", DATA_WIDTHS)
@pytest.mark.parametrize("idle, stall", [(0, 0), (0.5, 0), (0, 0.5), (0.5, 0.5)])
def test_writes_stay_whole_and_in_order(width, idle, stall):
    lengths = [1 + number % 4 for number in range(30)]
    left, _, _ = run(width, lengths, 20, idle=idle, stall=stall)
    seen = {False: [], True: []}
    while left:
        header, _, length = left[0]
        assert left[:length] == [(header, beat, length) for beat in range(length)]
        seen[header >= INTERRUPT].append(header)
        del left[:length]
    assert seen == {False: list(range(30)), True: [INTERRUPT + number for number in range(20)]}


def test_no_cycle_is_lost():
    lengths = [1, 3, 2, 1, 1]
    left, cycles, _ = run(128, lengths, 4)
    assert cycles == list(range(cycles[0], cycles[0] + len(left)))
    assert [header >= INTERRUPT for header, *_ in left[:4]] == [True] * 4


@pytest.mark.parametrize("idle, stall", [(0, 0), (0.3, 0.3)])
def test_interrupt_confirmations_do_not_confirm_writes(idle, stall):
    lengths = [1 + number % 3 for number in range(40)]
    # The bench ends with the last beat: the last writes are confirmed later.
    _, _, confirmed = run(64, lengths, 40, block=NUMBERED, idle=idle, stall=stall, confirm=0.5)
    assert 40 - CONFIRMATIONS <= confirmed <= 40
    assert confirmed > 20


def test_unconfirmed_writes_are_limited():
    silent = 200
    _, cycles, _ = run(64, [1] * 60, 10, block=NUMBERED, confirm=0.5, silent=silent)
    assert sum(cycle <= silent for cycle in cycles) == CONFIRMATIONS
