# SPDX-License-Identifier: BSD-2-Clause
"""The word fetcher: the words of each completion in order, and the fields of its header."""

import pytest
from amaranth.hdl import Value
from completer_model import SIZES, SUCCESS, Request, plan_of
from streams import Bench, geometry

from hdl.completer.fetcher import WordFetcher
from hdl.tlp import DATA_WIDTHS

COMPLETER = 0x1234


def fetches(request, max_payload, lanes):
    """Address of each word of a request, and the fields reported one cycle later."""
    tlp = request.tlp
    for split in request.splits(max_payload):
        success = request.status == SUCCESS
        words = split.words(lanes) if success else [None]
        for place, word in enumerate(words):
            yield (
                word,
                {
                    "first": place == 0,
                    "last": place == len(words) - 1,
                    "closes": split.is_last and place == len(words) - 1,
                    **({"offset": split.start % lanes} if success else {}),
                    "direct": split.is_direct(lanes) if success else 1,
                    "strb": split.strb(lanes),
                    "header": {
                        "lower_address": split.lower_address,
                        "tag": tlp.tag,
                        "requester_id": tlp.requester_id,
                        "byte_count": split.byte_count % 4096,
                        "status": request.status,
                        "completer_id": COMPLETER,
                        "length": split.dwords % 1024,
                        "attr": tlp.attr & 3,
                        "ido": tlp.attr >> 2,
                        "tc": tlp.tc,
                        "locked": tlp.kind & 1,
                    },
                },
            )


class Words:
    """The BAR that the fetcher reads, and the packetizer: random stalls of both.

    Attributes
    ----------
    read : list
        Target and address of each word read.
    fetched : list
        What the fetcher reports of each.
    """

    def __init__(self, bench):
        self.read = []
        self.fetched = []
        self._bench = bench
        dut = bench.dut
        self._waiting = None
        self._enabled = False
        bench.process(self._stall)
        bench.monitor(
            self._sample,
            dut.has_space,
            dut.words.requested,
            dut.words.ready,
            dut.words.enable,
            dut.words.target,
            dut.words.address,
            dut.fetched,
        )

    async def _stall(self, ctx):
        dut, bench = self._bench.dut, self._bench
        ctx.set(dut.completer_id, COMPLETER)
        while True:
            ctx.set(dut.words.ready, not bench.idles())
            ctx.set(dut.has_space, not bench.stalls())
            await ctx.tick()

    def _sample(self, has_space, requested, ready, enable, target, address, fetched):
        assert fetched.valid == self._enabled, "a word is reported a cycle after it is read"
        if fetched.valid:
            self.fetched.append(fetched)
        assert enable == (requested and ready)
        assert has_space or not requested, "there is no space for the word"
        word = (target.value, address)
        if requested and self._waiting is not None:
            assert word == self._waiting, "a stalled read changed"
        if requested:
            self._waiting = None if ready else word
        if enable:
            self.read.append(word)
        self._enabled = enable


@pytest.mark.parametrize("width", DATA_WIDTHS)
def test_words_of_every_completion_are_read(width):
    g = geometry(width)
    dut = WordFetcher(g)
    bench = Bench(dut, width)
    words = Words(bench)
    expected = []

    def packets():
        while True:
            request = Request(bench.rng, g.bar_sizes[g.shell.fifo_bar])
            size = bench.rng.choice(SIZES)
            expected.extend((request, *each) for each in fetches(request, size, g.lanes))
            plan = plan_of(request, size, g.lanes)
            yield [{"request": request.fields(), **plan, "mask": size // 4 - 1}]

    bench.source(dut.i, packets(), mask=dut.mask)
    bench.run()
    assert len(words.read) == len(words.fetched) == len(expected) > 30
    for read, fetched, (request, word, fields) in zip(
        words.read, words.fetched, expected, strict=True
    ):
        if word is not None:
            # A last word past the payload may be past the BAR, too.
            assert read == (request.target, word % (1 << g.word_address_bits)), str(request.tlp)
        for name, value in fields.items():
            found = fetched[name]
            if name == "header":
                found = {field: Value.cast(found[field]).value for field in value}
            assert found == value, f"{name} of {request.tlp}"
