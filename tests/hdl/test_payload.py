# SPDX-License-Identifier: BSD-2-Clause
"""The payload aligner: the first dword of each payload in lane 0, a word per cycle."""

import pytest
from completer_model import Split
from streams import UNTHROTTLED, Bench, geometry, packets_of

from hdl.payload import PayloadAligner
from hdl.tlp import DATA_WIDTHS


def words(rng, split, lanes):
    """The words of a TLP with random content, and the dwords of its payload."""
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
        }
        for place in range(len(addresses))
    ]
    return beats, content[offset : offset + split.dwords]


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
    # Without a payload there is nothing to move.
    return Split(rng.randrange(lanes) if dwords else 0, dwords, 0, 0, True)


@pytest.mark.parametrize("width", DATA_WIDTHS)
def test_payloads_begin_in_lane_0(width):
    lanes = width // 32
    dut = PayloadAligner(geometry(width))
    bench = Bench(dut, width)
    sent = []

    def packets():
        while True:
            beats, dwords = words(bench.rng, split_of(bench.rng, lanes), lanes)
            sent.append(dwords)
            yield beats

    bench.source(dut.i, packets())
    received = bench.sink(dut.o)
    bench.run()
    found = packets_of(received)
    assert [payload(packet, lanes) for packet in found] == sent
    assert [len(packet) for packet in found] == [max(-(-len(each) // lanes), 1) for each in sent]


@pytest.mark.parametrize("offset", [0, 1])
def test_one_word_per_cycle(offset):
    """Without a pause between TLPs, and plus a word where dwords move."""
    dut = PayloadAligner(geometry(128))
    bench = Bench(dut, offset, paces=UNTHROTTLED)
    split = Split(offset, 16, 0, 0, True)
    bench.source(dut.i, [words(bench.rng, split, 4)[0] for _ in range(4)])
    received = bench.sink(dut.o)
    bench.run()
    cycles = [beat["cycle"] for beat in received]
    assert cycles[-1] - cycles[0] == 4 * (4 + offset) - 1 - offset
