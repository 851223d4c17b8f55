# SPDX-License-Identifier: BSD-2-Clause
"""The splitter of read bursts: adjacent pieces within their block, split again when it shrinks."""

import pytest
from burst_model import PAGE, endless, random_burst
from streams import Bench, geometry

from hdl.dma.read_split import ReadSplitter
from hdl.tlp import DATA_WIDTHS

BLOCK = 512


def accept_pieces(bench, dut):
    """Accept pieces at random; returns them, each with the size code of the cycle before."""
    pieces = []
    codes = [0]

    async def process(ctx):
        while True:
            accept = ctx.get(dut.piece_valid) and not ctx.get(dut.fell) and not bench.stalls()
            ctx.set(dut.accept, accept)
            if accept:
                piece = dut.piece
                fields = ("id", "size", "last", "abort", "last_offset", "address")
                pieces.append({name: ctx.get(piece[name]) for name in fields} | {"code": codes[-1]})
            codes.append(ctx.get(dut.max_read_request_size))
            await ctx.tick()

    bench.process(process)
    return pieces


def check(bursts, pieces, size):
    for burst in bursts:
        if not burst.is_served(size):
            piece = pieces.pop(0)
            assert piece["abort"] and piece["last"]
            assert piece["address"] % BLOCK == 0 and piece["last_offset"] == burst.len
            continue
        address = burst.addr
        while address <= burst.last_byte:
            piece = pieces.pop(0)
            last = piece["address"] // BLOCK * BLOCK + piece["last_offset"]
            block = 128 << piece["code"]
            assert not piece["abort"] and (piece["id"], piece["size"]) == (burst.id, burst.size)
            assert piece["address"] == address
            assert address // block == last // block, (burst, piece)
            assert piece["last"] == (last == burst.last_byte)
            address = last + 1
    assert not pieces


@pytest.mark.parametrize("width", DATA_WIDTHS)
@pytest.mark.parametrize("changes", [0, 0.1])
def test_pieces_are_adjacent_and_fit_their_block(width, changes):
    dut = ReadSplitter(geometry(width))
    bench = Bench(dut, width, changes)
    bursts = []

    def packets():
        for burst in endless(lambda: random_burst(bench.rng, width // 8)):
            bursts.append(burst)
            yield [burst.payload]

    async def setting(ctx):
        while True:
            if bench.rng.random() < changes or not bench.cycle:
                ctx.set(dut.max_read_request_size, bench.rng.randrange(3))
            await ctx.tick()

    bench.process(setting)
    bench.source(dut.ar, packets())
    pieces = accept_pieces(bench, dut)
    bench.run(drain=100)
    check(bursts, pieces, width // 8)
    assert len(bursts) > 10


@pytest.mark.parametrize("width", [64, 512])
def test_reset_aborts_everything_inside(width):
    dut = ReadSplitter(geometry(width))
    bench = Bench(dut, width, paces=((0, 0),))
    size = (width // 8).bit_length() - 1

    async def process(ctx):
        for number in range(3):
            ctx.set(dut.ar.p.addr, number * PAGE)
            ctx.set(dut.ar.p.len, 63)
            ctx.set(dut.ar.p.size, size)
            ctx.set(dut.ar.p.burst, 1)
            ctx.set(dut.ar.valid, number < 2)
            await ctx.tick().repeat(4)
        ctx.set(dut.reset, 1)
        await ctx.tick()
        ctx.set(dut.reset, 0)
        # The piece, the rest of its burst, and the next burst.
        aborted = []
        for _ in range(20):
            valid = ctx.get(dut.piece_valid)
            ctx.set(dut.accept, valid)
            if valid:
                aborted.append(ctx.get(dut.piece.abort))
            await ctx.tick()
        assert aborted and all(aborted)

    bench.process(process)
    bench.run()
