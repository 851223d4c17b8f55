# SPDX-License-Identifier: BSD-2-Clause
"""The segmenter: the payloads and extents of memory writes, from runs of bytes."""

import pytest
from burst_model import pieces_of, random_words
from streams import Bench, geometry

from hdl.dma.write_segments import Segmenter
from hdl.tlp import DATA_WIDTHS


@pytest.mark.parametrize("width", DATA_WIDTHS)
def test_segments_have_their_dwords_from_lane_0(width):
    dut = Segmenter(geometry(width))
    bench = Bench(dut, width)
    lanes, size = width // 32, width // 8
    sent = []

    def packets():
        while True:
            words = random_words(bench.rng, size)
            pieces = pieces_of(words, size, 512)
            sent.append(pieces)
            yield pieces

    async def space(ctx):
        while True:
            ctx.set(dut.has_space, not bench.stalls())
            await ctx.tick()

    bench.process(space)
    bench.source(dut.i, packets())
    beats, segments = [], []
    segment = dut.segments.p
    bench.monitor(
        lambda valid, data: beats.append(data) if valid else None, dut.beats.valid, dut.beats.p
    )
    bench.monitor(
        lambda valid, *fields: segments.append((len(beats), *fields)) if valid else None,
        dut.segments.valid,
        segment.address,
        segment.length_m1,
        segment.last_byte,
        segment.ends,
        segment.empty,
    )
    bench.run()
    expected = []
    for pieces in sent:
        run = []
        for piece in pieces:
            if piece["empty"]:
                expected.append(None)
                continue
            start = piece["word"] * size
            run += [
                (start + place, piece["data"] >> 8 * place & 0xFF)
                for place in range(piece["first"], piece["last"] + 1)
            ]
            if piece["closes"]:
                expected.append((run, piece["ends"]))
                run = []
    stored = 0
    for (_, address, length_m1, last_byte, ends, empty), one in zip(
        segments, expected, strict=True
    ):
        if one is None:
            assert empty and ends
            continue
        run, run_ends = one
        assert (address, bool(ends), empty) == (run[0][0], bool(run_ends), 0)
        assert address // 4 * 4 + 4 * length_m1 + last_byte == run[-1][0]
        count = length_m1 // lanes + 1
        payload = b"".join(beat.to_bytes(size, "little") for beat in beats[stored : stored + count])
        stored += count
        assert [payload[place - address // 4 * 4] for place, _ in run] == [byte for _, byte in run]
    assert stored == len(beats)
    assert len(segments) > 20
