# SPDX-License-Identifier: BSD-2-Clause
"""The payload queue: the first dword of each payload in lane 0, a word per cycle."""

import pytest
from completer_model import Split
from streams import UNTHROTTLED, Bench, geometry, packets_of

from hdl.payload import MAX_DEPTH, PayloadQueue
from hdl.tlp import DATA_WIDTHS

FIELDS = 8
"""Bits of what a beat has beside its payload."""


def words(rng, split, lanes):
    """The words of a TLP with random content, the dwords of its payload, and the fields of its
    beats."""
    addresses = split.words(lanes)
    content = [rng.getrandbits(32) for _ in range(lanes * len(addresses))]
    offset = split.start % lanes
    beats = [
        {
            "data": sum(content[lanes * place + lane] << 32 * lane for lane in range(lanes)),
            "first": place == 0,
            "last": place == len(addresses) - 1,
            "offset": offset,
            "direct": split.is_direct(lanes),
            "strb": split.strb(lanes),
            "fields": rng.getrandbits(FIELDS),
        }
        for place in range(len(addresses))
    ]
    fields = [beat["fields"] for beat in beats if beat["direct"] or not beat["first"]]
    return beats, content[offset : offset + split.dwords], fields


def packets(received):
    """The packets of the output: for each beat its context and data."""
    return packets_of([{**beat["context"], "data": beat["data"]} for beat in received])


def payload(packet, lanes):
    """Dwords of a packet of the output; only its last beat may be partial."""
    dwords = []
    for beat in packet:
        count = beat["strb"].bit_count()
        assert beat["strb"] == (1 << count) - 1
        assert beat["eop"] or count == lanes
        dwords += [beat["data"] >> 32 * lane & 0xFFFF_FFFF for lane in range(count)]
    return dwords


def split_of(rng, lanes):
    dwords = rng.choice([0, 1, 2, lanes, lanes + 1, 2 * lanes - 1, rng.randint(1, 5 * lanes)])
    return Split(rng.randrange(lanes), dwords, 0, 0, True)


@pytest.mark.parametrize("width", DATA_WIDTHS)
@pytest.mark.parametrize("depth", [4, 16])
def test_payloads_begin_in_lane_0(width, depth):
    lanes = width // 32
    dut = PayloadQueue(geometry(width), FIELDS, depth=depth)
    bench = Bench(dut, width, depth)
    sent = []

    def tlps():
        while True:
            beats, *expected = words(bench.rng, split_of(bench.rng, lanes), lanes)
            sent.append(expected)
            yield beats

    bench.source(dut.i, tlps())
    received = bench.sink(dut.o)
    levels = set()

    async def watch(ctx):
        while True:
            level = ctx.get(dut.level)
            levels.add(level)
            assert ctx.get(dut.o.valid) == (level > 0)
            assert ctx.get(dut.i.ready) == (level < depth - 1)
            await ctx.tick()

    bench.process(watch)
    bench.run()
    found = packets(received)
    assert [[payload(each, lanes), [beat["fields"] for beat in each]] for each in found] == sent
    assert levels == set(range(depth))


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("width", [64, 128])
def test_one_word_per_cycle(width, offset):
    """Without a pause between TLPs, and plus a word where dwords move."""
    lanes = width // 32
    dut = PayloadQueue(geometry(width), FIELDS, depth=4)
    bench = Bench(dut, width, offset, paces=UNTHROTTLED)
    split = Split(offset, 4 * lanes, 0, 0, True)
    bench.source(dut.i, [words(bench.rng, split, lanes)[0] for _ in range(4)])
    received = bench.sink(dut.o)
    bench.run()
    cycles = [beat["cycle"] for beat in received]
    assert cycles[-1] - cycles[0] == 4 * (4 + offset) - 1 - offset


@pytest.mark.parametrize("depth", [2, 12, 32])
def test_depth_is_checked(depth):
    with pytest.raises(
        ValueError, match=f"depth is {depth}: must be a power of two from 4 to {MAX_DEPTH}"
    ):
        PayloadQueue(geometry(64), FIELDS, depth=depth)
