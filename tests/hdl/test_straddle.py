# SPDX-License-Identifier: BSD-2-Clause
"""Packets that begin in the upper half of a beat are aligned to the beginning of a beat."""

import random

import pytest
from simulation import simulate

from hdl.shims.straddle import Unstraddler

LENGTHS = [3, 4, 5, 6, 7, 8, 9, 12, 13, 20, 37]


def straddled(packets, rng, together):
    """Beats of ``packets``. After an end in a lower half, the next packet begins in the upper half
    with probability ``together``."""
    beats, position = [], 0
    pending = [(side, list(dwords)) for side, dwords in packets]
    while pending:
        side, dwords = pending[0]
        piece = dwords[position : position + 4]
        ends = position + 4 >= len(dwords)
        beat = {
            "data": piece,
            "begins": position == 0,
            "begin_half": 0,
            "ends": ends,
            "last_lane": (len(piece) - 1) if ends else rng.randrange(4),
            "side": side if position == 0 else rng.getrandbits(16),
        }
        position += 4
        if ends:
            pending.pop(0)
            position = 0
            if len(piece) <= 2 and pending and rng.random() < together:
                next_side, following = pending[0]
                beat["data"] = piece + [0] * (2 - len(piece)) + following[:2]
                beat.update(begins=True, begin_half=1, side=next_side)
                position = 2
        beats.append(beat)
    return beats


@pytest.mark.parametrize("together", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("idle, stall", [(0, 0), (0.4, 0), (0, 0.4), (0.4, 0.4)])
def test_packets_pass_whole_and_in_order(together, idle, stall):
    rng = random.Random(7)
    packets = [
        (rng.getrandbits(16), [rng.getrandbits(32) for _ in range(length)])
        for length in LENGTHS + [rng.choice(LENGTHS) for _ in range(40)]
    ]
    beats = straddled(packets, rng, together)
    dut = Unstraddler()
    found = []

    async def source(ctx):
        for beat in beats:
            while rng.random() < idle:
                await ctx.tick()
            dwords = beat["data"] + [0xDEAD] * (4 - len(beat["data"]))
            ctx.set(dut.i.p.data, sum(dword << 32 * lane for lane, dword in enumerate(dwords)))
            for field in ("begins", "begin_half", "ends", "last_lane", "side"):
                ctx.set(dut.i.p[field], beat[field])
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
            ctx.set(dut.i.valid, 0)

    async def sink(ctx):
        stalled, dwords, first = None, [], None
        p = dut.o.p
        while len(found) < len(packets):
            ready = rng.random() >= stall
            ctx.set(dut.o.ready, ready)
            values = (dut.o.valid, p.data, p.lanes, p.last, dut.side)
            _, _, valid, data, lanes, last, side = await ctx.tick().sample(*values)
            if stalled is not None:
                assert valid and (data, lanes, last, side) == stalled, "a stalled beat changed"
            stalled = (data, lanes, last, side) if valid and not ready else None
            if not (valid and ready):
                continue
            assert last or not lanes
            first = side if first is None else first
            dwords += [data >> 32 * lane & 0xFFFF_FFFF for lane in range(lanes or 4)]
            if last:
                found.append((first, dwords))
                dwords, first = [], None

    simulate(dut, sink, background=[source])
    assert found == packets
