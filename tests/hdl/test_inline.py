# SPDX-License-Identifier: BSD-2-Clause
"""Conversion between headers in front of payloads and headers beside them, at every width."""

import random

import pytest
from simulation import simulate

from hdl.shims.inline import MAX_HEADER, HeaderJoiner, HeaderSplitter
from hdl.tlp import DATA_WIDTHS

HEADERS = [(3,), (4,), (3, 4)]
PAYLOADS = [0, 1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 15, 16, 17, 31, 32, 33, 64]


def packets(lengths, rng):
    """Packets as dwords of header and of payload."""
    payloads = PAYLOADS + [rng.choice(PAYLOADS) for _ in range(10)]
    return [
        (
            [rng.getrandbits(32) for _ in range(rng.choice(lengths))],
            [rng.getrandbits(32) for _ in range(payload)],
        )
        for payload in payloads
    ]


def value(dwords):
    return sum(dword << 32 * place for place, dword in enumerate(dwords))


def inline_beats(header, payload, lanes):
    dwords = header + payload
    for at in range(0, len(dwords), lanes):
        piece = dwords[at : at + lanes]
        yield {
            "data": value(piece),
            "lanes": len(piece) % lanes,
            "last": at + lanes >= len(dwords),
        }


def beside_beats(header, payload, lanes):
    for at in range(0, max(len(payload), 1), lanes):
        piece = payload[at : at + lanes]
        yield {
            "header": value(header) if not at else 0,
            "data": value(piece),
            "strb": (1 << len(piece)) - 1,
            "first": not at,
            "last": at + lanes >= len(payload),
        }


def run(dut, sent, beats, *, seed, idle=0.0, stall=0.0):
    """Drive the beats of each packet; return the accepted beats and the cycle of each."""
    rng = random.Random(seed)
    lanes = len(dut.i.p.data) // 32
    total = len(sent)
    taken, cycles = [], []

    async def source(ctx):
        for header, payload in sent:
            for place, beat in enumerate(beats(header, payload, lanes)):
                while rng.random() < idle:
                    await ctx.tick()
                for field, content in beat.items():
                    ctx.set(dut.i.p[field], content)
                ctx.set(dut.is_long, len(header) == 4 if not place else rng.getrandbits(1))
                ctx.set(dut.i.valid, 1)
                await ctx.tick().until(dut.i.ready)
                ctx.set(dut.i.valid, 0)

    async def sink(ctx):
        fields = list(dict(dut.o.p.shape()))
        stalled, cycle, ends = None, 0, 0
        first = [dut.first] if hasattr(dut, "first") else []
        while ends < total:
            ready = rng.random() >= stall
            ctx.set(dut.o.ready, ready)
            values = [dut.o.p[field] for field in fields] + first
            _, _, valid, *got = await ctx.tick().sample(dut.o.valid, *values)
            cycle += 1
            if stalled is not None:
                assert valid and got == stalled, "a stalled beat changed"
            stalled = got if valid and not ready else None
            if valid and ready:
                beat = dict(zip([*fields, "begins"], got, strict=False))
                taken.append(beat)
                cycles.append(cycle)
                ends += beat["last"]

    simulate(dut, sink, background=[source])
    return taken, cycles


def collect(taken, lanes, *, inline):
    """Header and dwords of each packet; the header is 0 where it is in front of the dwords."""
    found, dwords, header = [], [], None
    for beat in taken:
        begins = beat["begins"] if inline else beat["first"]
        assert begins == (header is None)
        if begins:
            header = beat.get("header", 0)
        count = (beat["lanes"] or lanes) if inline else beat["strb"].bit_length()
        if not inline:
            assert beat["strb"] == (1 << count) - 1
        assert beat["last"] or count == lanes
        dwords += [beat["data"] >> 32 * lane & 0xFFFF_FFFF for lane in range(count)]
        if beat["last"]:
            found.append((header, dwords))
            dwords, header = [], None
    assert header is None
    return found


PACE = [(0, 0), (0.4, 0), (0, 0.4), (0.4, 0.4)]


@pytest.mark.parametrize("width", DATA_WIDTHS)
@pytest.mark.parametrize("lengths", HEADERS, ids=str)
@pytest.mark.parametrize("idle, stall", PACE)
def test_split_at_any_pace(width, lengths, idle, stall):
    rng = random.Random(width)
    sent = packets(lengths, rng)
    dut = HeaderSplitter(width, lengths)
    taken, _ = run(dut, sent, inline_beats, seed=width, idle=idle, stall=stall)
    found = collect(taken, width // 32, inline=False)
    assert len(found) == len(sent)
    for (header, payload), (got, dwords) in zip(sent, found, strict=True):
        assert got & (1 << 32 * len(header)) - 1 == value(header)
        assert dwords == payload


@pytest.mark.parametrize("width", DATA_WIDTHS)
@pytest.mark.parametrize("lengths", HEADERS, ids=str)
@pytest.mark.parametrize("idle, stall", PACE)
def test_join_at_any_pace(width, lengths, idle, stall):
    rng = random.Random(width)
    sent = packets(lengths, rng)
    dut = HeaderJoiner(width, lengths)
    taken, _ = run(dut, sent, beside_beats, seed=width, idle=idle, stall=stall)
    found = collect(taken, width // 32, inline=True)
    assert [dwords for _, dwords in found] == [header + payload for header, payload in sent]


@pytest.mark.parametrize("width", DATA_WIDTHS)
@pytest.mark.parametrize("dwords", [3, 4])
@pytest.mark.parametrize("part", [HeaderSplitter, HeaderJoiner])
def test_long_packet_takes_one_beat_per_cycle(width, dwords, part):
    """Plus one cycle if the last lanes do not fit the beat before."""
    sent = [([1] * dwords, [2] * 256)]
    beats = inline_beats if part is HeaderSplitter else beside_beats
    taken, cycles = run(part(width, (dwords,)), sent, beats, seed=0)
    assert cycles[-1] - cycles[0] == len(taken) - 1
    assert cycles[-1] <= -(-(dwords + 256) // (width // 32)) + 2


@pytest.mark.parametrize("width", DATA_WIDTHS)
@pytest.mark.parametrize("dwords", [3, 4])
def test_broken_beat_loses_its_data(width, dwords):
    """The lanes that move to the next beat are lost, too; the other packets are whole."""
    lanes = width // 32
    dut = HeaderSplitter(width, (dwords,))
    sent = [([7] * dwords, [place] * 40) for place in range(3)]
    taken = []

    async def source(ctx):
        for number, packet in enumerate(sent):
            beats = list(inline_beats(*packet, lanes))
            for place, beat in enumerate(beats):
                for field, content in beat.items():
                    ctx.set(dut.i.p[field], content)
                ctx.set(dut.broken, number == 1 and place == len(beats) - 1)
                ctx.set(dut.i.valid, 1)
                await ctx.tick().until(dut.i.ready)
        ctx.set(dut.i.valid, 0)

    async def sink(ctx):
        ctx.set(dut.o.ready, 1)
        ends = 0
        while ends < len(sent):
            beat = dut.o.p
            values = (beat.data, beat.strb, beat.first, beat.last)
            _, _, valid, *got = await ctx.tick().sample(dut.o.valid, *values)
            if valid:
                taken.append(dict(zip(("data", "strb", "first", "last"), got, strict=True)))
                ends += taken[-1]["last"]

    simulate(dut, sink, background=[source])
    counts = [0]
    for beat in taken:
        counts[-1] += beat["strb"].bit_count()
        if beat["last"]:
            counts.append(0)
    assert counts[0] == counts[2] == 40
    assert counts[1] <= 40 - ((dwords + 40) % lanes or lanes)


@pytest.mark.parametrize("lengths", [(), (2,), (4, 5)])
def test_header_lengths_are_checked(lengths):
    for part in (HeaderSplitter, HeaderJoiner):
        with pytest.raises(ValueError, match="header_dwords is"):
            part(128, lengths)
    assert MAX_HEADER == 4
