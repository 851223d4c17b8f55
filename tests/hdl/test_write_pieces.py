# SPDX-License-Identifier: BSD-2-Clause
"""The finder of pieces: the runs of bytes in each word, and where segments end."""

import pytest
from burst_model import pieces_of, random_words
from streams import UNTHROTTLED, Bench, geometry

from hdl.dma.write_pieces import PieceFinder
from hdl.tlp import DATA_WIDTHS


def defined(piece):
    """The fields of a piece that are defined."""
    return {name: piece[name] for name in ("empty", "ends", "closes")} if piece["empty"] else piece


@pytest.mark.parametrize("width", DATA_WIDTHS)
@pytest.mark.parametrize("code", [0, 2])
def test_pieces_are_runs_of_bytes(width, code):
    dut = PieceFinder(geometry(width))
    bench = Bench(dut, width, code)
    sent = []

    def packets():
        while True:
            words = random_words(bench.rng, width // 8)
            sent.extend(pieces_of(words, width // 8, 128 << code))
            yield words

    async def setting(ctx):
        ctx.set(dut.max_payload_size, code)

    bench.process(setting)
    bench.source(dut.i, packets())
    pieces = bench.sink(dut.o, defined=defined)
    bench.run()
    for piece in pieces:
        del piece["cycle"]
    assert pieces == sent
    assert len(pieces) > 20


@pytest.mark.parametrize("width", DATA_WIDTHS)
def test_one_word_per_cycle_with_one_run(width):
    dut = PieceFinder(geometry(width))
    bench = Bench(dut, width, paces=UNTHROTTLED)
    every = (1 << width // 8) - 1
    words = [{"data": 0, "strb": every, "word": word, "last": word == 29} for word in range(30)]
    bench.source(dut.i, iter([words]))
    pieces = bench.sink(dut.o)
    bench.run()
    assert [piece["cycle"] - pieces[0]["cycle"] for piece in pieces] == list(range(30))
