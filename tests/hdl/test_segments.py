# SPDX-License-Identifier: BSD-2-Clause
"""Packets that begin in any segment of a beat are aligned to the beginning of a beat."""

import random

import pytest
from simulation import simulate

from hdl.shims.segments import Unsegmenter

WIDTH = 128
LENGTHS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 20, 37]


def segmented(packets, rng, segments, *, together, gaps):
    """Beats of ``packets``: lists of segments, None for an invalid one.

    A packet begins in the beat in which the one before ends with probability ``together``; with
    probability ``gaps``, the segment before a valid one is invalid."""
    lanes = WIDTH // 32 // segments
    beats, beat = [], []

    def put(segment):
        beat.append(segment)
        if len(beat) == segments:
            # Every beat has a valid segment.
            if any(beat):
                beats.append(list(beat))
            beat.clear()

    for side, dwords in packets:
        while beat and rng.random() >= together:
            put(None)
        for at in range(0, len(dwords), lanes):
            while segments > 1 and rng.random() < gaps:
                put(None)
            piece = dwords[at : at + lanes]
            last = at + lanes >= len(dwords)
            put(
                {
                    "data": piece,
                    "lanes": len(piece) if last else rng.randrange(lanes + 1),
                    "last": last,
                    "side": side if at == 0 else rng.getrandbits(16),
                }
            )
    while beat:
        put(None)
    return beats


@pytest.mark.parametrize("segments", [1, 2])
@pytest.mark.parametrize("together, gaps", [(0, 0), (0.5, 0), (1, 0), (1, 0.3), (0.5, 0.3)])
@pytest.mark.parametrize("idle, stall", [(0, 0), (0.4, 0), (0, 0.4), (0.4, 0.4)])
def test_packets_pass_whole_and_in_order(segments, together, gaps, idle, stall):
    rng = random.Random(7)
    packets = [
        (rng.getrandbits(16), [rng.getrandbits(32) for _ in range(length)])
        for length in LENGTHS + [rng.choice(LENGTHS) for _ in range(25)]
    ]
    beats = segmented(packets, rng, segments, together=together, gaps=gaps)
    dut = Unsegmenter(WIDTH, segments, 16)
    lanes = WIDTH // 32 // segments
    found = []

    async def source(ctx):
        for beat in beats:
            while rng.random() < idle:
                await ctx.tick()
            for pins, segment in zip(dut.i.p.segments, beat, strict=True):
                ctx.set(pins.valid, segment is not None)
                if segment is None:
                    segment = {"data": [], "lanes": 1, "last": 1, "side": 0}
                dwords = segment["data"] + [0xDEAD] * (lanes - len(segment["data"]))
                ctx.set(pins.data, sum(dword << 32 * lane for lane, dword in enumerate(dwords)))
                for field in ("lanes", "last", "side"):
                    ctx.set(pins[field], segment[field])
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
            ctx.set(dut.i.valid, 0)

    async def sink(ctx):
        stalled, dwords, cycles = None, [], 0
        p = dut.o.p
        while len(found) < len(packets):
            ready = rng.random() >= stall
            ctx.set(dut.o.ready, ready)
            values = (dut.o.valid, p.data, p.lanes, p.last, dut.first, dut.side)
            _, _, valid, data, count, last, first, side = await ctx.tick().sample(*values)
            # Lanes past the last one are undefined.
            data &= (1 << 32 * (count or WIDTH // 32)) - 1
            beat = (data, count, last, first, side)
            cycles += 1
            assert cycles < 50 * len(beats), "packets are lost"
            if stalled is not None:
                assert valid and beat == stalled, "a stalled beat changed"
            stalled = beat if valid and not ready else None
            if not (valid and ready):
                continue
            assert last or not count
            assert bool(first) == (not dwords)
            dwords += [data >> 32 * lane & 0xFFFF_FFFF for lane in range(count or WIDTH // 32)]
            if last:
                found.append((side, dwords))
                dwords = []

    simulate(dut, sink, background=[source])
    assert found == packets


def test_number_of_segments_is_checked():
    with pytest.raises(ValueError, match="segments is 4: must be 1 or 2"):
        Unsegmenter(WIDTH, 4, 16)
