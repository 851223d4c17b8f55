# SPDX-License-Identifier: BSD-2-Clause
"""The completer: every request answered by the rules, while the maximum payload size changes."""

import pytest
from completer_model import SIZES, SUCCESS, Request
from streams import UNTHROTTLED, Bench, geometry, packets_of, tlp_of

from hdl.completer import Completer
from hdl.completer.fetcher import READ_LATENCY
from hdl.tlp import DATA_WIDTHS
from models.config_space import size_code
from testbench.tlp import Tlp
from testbench.tlp import TlpKind as Kind
from testbench.tlp.rules import Outstanding, advance, completion_rules, header_rules

COMPLETER = 0xABCD


def content(target, dword):
    """A different value for each dword of each BAR."""
    return (dword * 0x9E37_79B1 + target * 0x85EB_CA6B) & 0xFFFF_FFFF


class Bars:
    """The BARs that the completer reads, with random stalls."""

    def __init__(self, bench):
        self._bench = bench
        bench.process(self._serve)

    async def _serve(self, ctx):
        words, lanes = self._bench.dut.words, len(self._bench.dut.words.data) // 32
        late = []
        while True:
            ctx.set(words.ready, not self._bench.idles())
            late = [*late[-READ_LATENCY + 1 :], self._bench.rng.getrandbits(len(words.data))]
            values = (words.enable, words.target, words.address)
            _, _, enable, target, address = await ctx.tick().sample(*values)
            if enable:
                dwords = (content(target.value, address * lanes + lane) for lane in range(lanes))
                late[-1] = sum(dword << 32 * lane for lane, dword in enumerate(dwords))
            if len(late) == READ_LATENCY:
                ctx.set(words.data, late[0])


def check(tlp, pending, request, max_payload):
    """Check a completion by the rules, and its payload; returns whether it is the last one."""
    violations = [
        *header_rules(tlp),
        *completion_rules(tlp, pending, max_payload_size=max_payload),
    ]
    # An endpoint must not complete a locked read with success; the ingress makes sure of it.
    assert not violations, "; ".join(map(str, violations))
    assert (tlp.status, tlp.has_data) == (request.status, request.status == SUCCESS)
    start = pending.next_address // 4
    dwords = [content(request.target, start + place) for place in range(len(tlp.payload) // 4)]
    assert tlp.payload == b"".join(dword.to_bytes(4, "little") for dword in dwords)
    return advance(tlp, pending)


@pytest.mark.parametrize("width", DATA_WIDTHS)
def test_requests_are_completed_by_the_rules(width):
    g = geometry(width)
    dut = Completer(g)
    bench = Bench(dut, width)
    Bars(bench)
    sent = []
    sizes, formers, accepted = [], [], []

    def packets():
        while True:
            request = Request(bench.rng, g.bar_sizes[g.shell.fifo_bar])
            sent.append(request)
            yield [request.fields()]

    async def change_size(ctx):
        ctx.set(dut.control.completer_id, COMPLETER)
        while True:
            size = bench.rng.choice(SIZES)
            # Reserved codes mean the largest size.
            reserved = size == SIZES[-1] and bench.rng.random() < 0.5
            ctx.set(dut.control.max_payload_size, 7 if reserved else size_code(size))
            for _ in range(bench.rng.choice([1, 3, 30, 60])):
                sizes.append(size)
                values = (dut.former, dut.i.valid, dut.i.ready)
                _, _, former, valid, ready = await ctx.tick().sample(*values)
                formers.append(former)
                if valid and ready:
                    accepted.append(len(sizes) - 1)

    bench.process(change_size)
    bench.source(dut.i, packets())
    received = bench.sink(dut.o)
    bench.run()

    packets = iter(packets_of(received))
    departed = []
    for request in sent:
        pending = Outstanding(request.tlp, {COMPLETER})
        is_last = False
        while not is_last:
            packet = next(packets)
            cycle = packet[0]["cycle"]
            # A size that fell holds from when `former` is low; two cycles until that shows it.
            now = sizes[max(cycle - 2, 0) : cycle + 1]
            limit = SIZES[-1] if any(formers[cycle - 1 : cycle + 1]) else max(now)
            is_last = check(tlp_of(packet), pending, request, limit)
        departed.append(packet[-1]["cycle"])
    assert next(packets, None) is None
    assert len(sent) > 3
    check_former(sizes, formers, list(zip(accepted, departed, strict=True)))


def check_former(sizes, formers, inside):
    """``former`` is high while a request is inside from before the size fell, and not for long
    when none is."""
    for cycle, former in enumerate(formers):
        for accepted, departed in inside:
            if accepted < cycle < departed:
                fell = any(sizes[place] > sizes[place + 1] for place in range(accepted, cycle - 1))
                assert former or not fell, f"former is low in cycle {cycle}"
        recently = range(max(cycle - 3, 0), cycle)
        busy = any(accepted <= cycle <= departed + 3 for accepted, departed in inside)
        if not busy and all(sizes[place] <= sizes[place + 1] for place in recently):
            assert not former, f"former is high in cycle {cycle}"


@pytest.mark.parametrize("width", DATA_WIDTHS)
def test_one_word_per_cycle(width):
    g = geometry(width)
    dut = Completer(g)
    bench = Bench(dut, width, paces=UNTHROTTLED)
    Bars(bench)
    request = Request(bench.rng, 4096)
    request.status = SUCCESS
    request.tlp = Tlp(Kind.MRD32, length=width // 2, first_be=0xF, last_be=0xF)

    async def set_size(ctx):
        ctx.set(dut.control.max_payload_size, 7)

    bench.process(set_size)
    bench.source(dut.i, [[request.fields()]])
    received = bench.sink(dut.o)
    bench.run()
    cycles = [beat["cycle"] for beat in received]
    assert cycles == list(range(cycles[0], cycles[0] + 16))
