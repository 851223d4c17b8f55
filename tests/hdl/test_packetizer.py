# SPDX-License-Identifier: BSD-2-Clause
"""The completion packetizer: completions from words, which are read only when there is space."""

import pytest
from completer_model import SIZES, SUCCESS, Request
from streams import UNTHROTTLED, Bench, drive, geometry, packets_of, tlp_of

from hdl.completer.packetizer import CompletionPacketizer
from hdl.tlp import DATA_WIDTHS
from testbench.tlp import Tlp
from testbench.tlp import TlpKind as Kind


def completions(request, max_payload, rng):
    """The completions of a request, with random payload."""
    tlp = request.tlp
    for split in request.splits(max_payload):
        kind = Kind.CPLD if request.status == SUCCESS else Kind.CPL
        yield (
            split,
            Tlp(
                kind | tlp.kind & 1,
                length=split.dwords,
                requester_id=tlp.requester_id,
                completer_id=0x5678,
                tag=tlp.tag,
                tc=tlp.tc,
                attr=tlp.attr,
                status=request.status,
                byte_count=split.byte_count,
                lower_address=split.lower_address,
                payload=rng.randbytes(4 * split.dwords),
            ),
        )


def fetched_words(split, answer, lanes, rng):
    """The words of a completion as the fetcher reports them, and their content."""
    addresses = split.words(lanes) if split.dwords else [0]
    # Without data there is nothing to move.
    offset = split.start % lanes if split.dwords else rng.randrange(lanes)
    memory = bytearray(rng.randbytes(4 * lanes * len(addresses)))
    memory[4 * offset : 4 * offset + len(answer.payload)] = answer.payload
    for place in range(len(addresses)):
        is_last = place == len(addresses) - 1
        fetched = {
            "valid": 1,
            "first": place == 0,
            "last": is_last,
            "closes": is_last and split.is_last,
            "offset": offset,
            "direct": split.is_direct(lanes) or not split.dwords,
            "strb": split.strb(lanes),
            "header": {
                "lower_address": answer.lower_address,
                "tag": answer.tag,
                "requester_id": answer.requester_id,
                "byte_count": answer.byte_count,
                "status": answer.status,
                "completer_id": answer.completer_id,
                "length": answer.length,
                "attr": answer.attr & 3,
                "ido": answer.attr >> 2,
                "tc": answer.tc,
                "locked": answer.kind & 1,
            },
        }
        step = 4 * lanes
        yield fetched, int.from_bytes(memory[place * step : (place + 1) * step], "little")


def feed(bench, words):
    """Read ``words`` when the packetizer has space: reported a cycle later, data after that."""
    dut = bench.dut

    async def reads(ctx):
        word, late = None, 0
        while True:
            fetched, content = word or ({"valid": 0}, 0)
            drive(ctx, dut.fetched, fetched, bench.rng)
            ctx.set(dut.data, late)
            late = content if word else bench.rng.getrandbits(len(dut.data))
            word = None
            if ctx.get(dut.has_space) and not bench.idles():
                word = next(words, None)
            await ctx.tick()

    bench.process(reads)


@pytest.mark.parametrize("width", DATA_WIDTHS)
def test_completions_are_made_of_the_words(width):
    g = geometry(width)
    dut = CompletionPacketizer(g)
    bench = Bench(dut, width)
    sent = []

    def words():
        while not bench.ended:
            request = Request(bench.rng, g.bar_sizes[g.shell.fifo_bar])
            for split, answer in completions(request, bench.rng.choice(SIZES), bench.rng):
                sent.append((answer, split.is_last))
                yield from fetched_words(split, answer, g.lanes, bench.rng)

    feed(bench, words())
    received = bench.sink(dut.o, closes=dut.closes)
    bench.run()
    found = packets_of(received)
    assert len(found) == len(sent) > 3
    for packet, (answer, is_last) in zip(found, sent, strict=True):
        assert tlp_of(packet) == answer
        closes = [beat["closes"] for beat in packet]
        assert closes == [0] * (len(packet) - 1) + [is_last]


@pytest.mark.parametrize("width", DATA_WIDTHS)
def test_one_beat_per_cycle(width):
    g = geometry(width)
    dut = CompletionPacketizer(g)
    bench = Bench(dut, width, paces=UNTHROTTLED)
    request = Request(bench.rng, 4096)
    request.status = SUCCESS
    request.tlp = Tlp(Kind.MRD32, length=width // 2, first_be=0xF, last_be=0xF)
    ((split, answer),) = completions(request, 4096, bench.rng)
    feed(bench, fetched_words(split, answer, g.lanes, bench.rng))
    received = bench.sink(dut.o)
    bench.run()
    cycles = [beat["cycle"] for beat in received]
    assert cycles == list(range(cycles[0], cycles[0] + 16))
