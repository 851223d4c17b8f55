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


def run(
    width, lengths, interrupts, *, block=None, idle=0.0, stall=0.0, confirm=0.0, confirm_from=0
):
    """Send writes of ``lengths`` beats and ``interrupts`` MSI-X writes; confirm none in the first
    ``silent`` cycles.

    Returns the beats sent as (header, beat, length), the cycle of each, and the number of writes
    confirmed.
    """
    dut = WriteMerger(width, block or BlockOptions())
    rng = random.Random(width)
    total = sum(lengths) + interrupts
    sent, cycles, confirmed = [], [], []

    async def dma_writes(ctx):
        beat = dut.writes.p
        for number, length in enumerate(lengths):
            for position in range(length):
                while rng.random() < idle:
                    await ctx.tick()
                ctx.set(dut.writes.valid, 1)
                ctx.set(beat.hdr, number)
                ctx.set(beat.data, position << 8 | length)
                ctx.set(beat.strb, (1 << width // 32) - 1)
                ctx.set(beat.sop, position == 0)
                ctx.set(beat.eop, position == length - 1)
                await ctx.tick().until(dut.writes.ready)
                ctx.set(dut.writes.valid, 0)

    async def msix_writes(ctx):
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

    async def sink(ctx):
        pending = None
        cycle = 0
        p = dut.o.p
        while len(sent) < total:
            ready = rng.random() >= stall
            ctx.set(dut.o.ready, ready)
            confirms = cycle >= confirm_from and rng.random() < confirm
            ctx.set(dut.confirmed, confirms)
            values = (dut.o.valid, p.hdr, p.data, p.strb, p.sop, p.eop, dut.write_confirmed)
            _, _, valid, header, data, strb, sop, eop, done = await ctx.tick().sample(*values)
            cycle += 1
            if done:
                confirmed.append(cycle)
            if pending is not None:
                assert valid and (header, data, sop, eop) == pending, "a valid beat changed"
            pending = (header, data, sop, eop) if valid and not ready else None
            if valid and ready:
                assert sop == (data >> 8 == 0) and eop == (data >> 8 == (data & 0xFF) - 1)
                assert strb == (1 if header >= INTERRUPT else (1 << width // 32) - 1)
                sent.append((header, data >> 8, data & 0xFF))
                cycles.append(cycle)

    simulate(dut, sink, background=[dma_writes, msix_writes])
    return sent, cycles, len(confirmed)


@pytest.mark.parametrize("width", DATA_WIDTHS)
@pytest.mark.parametrize("idle, stall", [(0, 0), (0.5, 0), (0, 0.5), (0.5, 0.5)])
def test_writes_stay_whole_and_in_order(width, idle, stall):
    lengths = [1 + number % 4 for number in range(30)]
    sent, _, _ = run(width, lengths, 20, idle=idle, stall=stall)
    seen = {False: [], True: []}
    while sent:
        header, _, length = sent[0]
        assert sent[:length] == [(header, beat, length) for beat in range(length)]
        seen[header >= INTERRUPT].append(header)
        del sent[:length]
    assert seen == {False: list(range(30)), True: [INTERRUPT + number for number in range(20)]}


def test_no_cycle_is_lost():
    lengths = [1, 3, 2, 1, 1]
    sent, cycles, _ = run(128, lengths, 4)
    assert cycles == list(range(cycles[0], cycles[0] + len(sent)))
    assert [header >= INTERRUPT for header, *_ in sent[:4]] == [True] * 4


@pytest.mark.parametrize("idle, stall", [(0, 0), (0.3, 0.3)])
def test_interrupt_confirmations_do_not_confirm_writes(idle, stall):
    lengths = [1 + number % 3 for number in range(40)]
    # The bench ends with the last beat: the last writes are confirmed later.
    _, _, confirmed = run(64, lengths, 40, block=NUMBERED, idle=idle, stall=stall, confirm=0.5)
    assert 40 - CONFIRMATIONS <= confirmed <= 40
    assert confirmed > 20


def test_unconfirmed_writes_are_limited():
    confirm_from = 200
    _, cycles, _ = run(64, [1] * 60, 10, block=NUMBERED, confirm=0.5, confirm_from=confirm_from)
    assert sum(cycle <= confirm_from for cycle in cycles) == CONFIRMATIONS
