# SPDX-License-Identifier: BSD-2-Clause
"""The write collector: beats that share a word are merged under their strobes."""

import pytest
from burst_model import Burst, endless, random_burst, write_source
from streams import UNTHROTTLED, Bench, geometry

from hdl.dma.write_words import WriteCollector
from hdl.tlp import DATA_WIDTHS


def words_of(burst, beats, word_bytes):
    """Words of a served burst: address, bytes by position, last."""
    words, content = [], {}
    for (first, last), beat in zip(burst.beats(), beats, strict=True):
        for address in range(first, last + 1):
            place = address % word_bytes
            if beat["strb"] >> place & 1:
                content[place] = beat["data"] >> 8 * place & 0xFF
        if last % word_bytes == word_bytes - 1 or beat["last"]:
            words.append((last // word_bytes, content, beat["last"]))
            content = {}
    return words


def seen(word):
    """A word of the collector in the same form."""
    places = [place for place in range(64) if word["strb"] >> place & 1]
    content = {place: word["data"] >> 8 * place & 0xFF for place in places}
    return word["word"], content, word["last"]


@pytest.mark.parametrize("width", DATA_WIDTHS)
def test_beats_of_a_word_are_merged(width):
    dut = WriteCollector(geometry(width))
    bench = Bench(dut, width, period=120)
    size = width // 8
    sent = write_source(
        bench,
        dut.aw,
        dut.w,
        size,
        endless(lambda: random_burst(bench.rng, size, served=bench.rng.random() < 0.8 or None)),
    )
    words = bench.sink(dut.o)
    begun = bench.count(dut.begun)
    complete = bench.count(dut.complete)

    async def space(ctx):
        while True:
            ctx.set(dut.has_space, not bench.stalls())
            await ctx.tick()

    bench.process(space)
    bench.run(drain=300)
    assert len(begun) == len(complete) == len(sent) > 5
    words = [seen(word) for word in words]
    for burst, beats in sent:
        if burst.is_served(size):
            expected = words_of(burst, beats, size)
            assert words[: len(expected)] == expected, burst
            del words[: len(expected)]
            continue
        # A burst that is not served has words without bytes.
        while True:
            _, content, last = words.pop(0)
            assert not content, burst
            if last:
                break
    assert not words


@pytest.mark.parametrize("width", DATA_WIDTHS)
def test_one_beat_per_cycle(width):
    dut = WriteCollector(geometry(width))
    bench = Bench(dut, width, paces=UNTHROTTLED)
    burst = Burst(1, 0, 2048 // width - 1, (width // 8).bit_length() - 1, 1)
    write_source(bench, dut.aw, dut.w, width // 8, iter([burst]))
    words = bench.sink(dut.o)

    async def space(ctx):
        ctx.set(dut.has_space, 1)

    bench.process(space)
    bench.run()
    cycles = [word["cycle"] for word in words]
    assert len(cycles) == burst.len + 1
    assert cycles[-1] - cycles[0] == burst.len


@pytest.mark.parametrize("width", [64, 512])
@pytest.mark.parametrize("wrong", ["early", "missing"])
def test_wrong_last_fails_the_burst(width, wrong):
    dut = WriteCollector(geometry(width))
    bench = Bench(dut, width, wrong, paces=UNTHROTTLED)
    burst = Burst(1, 0, 3, (width // 8).bit_length() - 1, 1)
    sent = write_source(bench, dut.aw, dut.w, width // 8, iter([burst]))
    words = bench.sink(dut.o)
    failing = bench.count(dut.failing)

    async def change(ctx):
        ctx.set(dut.has_space, 1)
        while not sent:
            await ctx.tick()
        beats = sent[0][1]
        beats[1 if wrong == "early" else 3]["last"] = wrong == "early"

    bench.process(change)
    bench.run()
    assert len(failing) == 1
    # The burst keeps the length of its address.
    assert [word["last"] for word in words] == [0, 0, 0, 1]
