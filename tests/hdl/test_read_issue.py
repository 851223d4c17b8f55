# SPDX-License-Identifier: BSD-2-Clause
"""The issuer of memory reads: every piece of every burst gets a tag, and a read unless it fails."""

from collections import deque
from itertools import pairwise

import pytest
from burst_model import random_burst
from streams import Bench, geometry

from hdl.dma.limits import REQUEST_BYTES, TAGS
from hdl.dma.read_issue import ReadIssuer
from hdl.tlp import DATA_WIDTHS
from testbench.tlp import Tlp
from testbench.tlp.packets import memory_read
from testbench.tlp.rules import header_rules, request_rules

REQUESTER = 0x4321


class Allocation:
    """A tag that was allocated, in cycle ``cycle``."""

    def __init__(self, cycle, tag, context, expected, last_offset, failed):
        self.cycle, self.tag, self.failed = cycle, tag, bool(failed)
        self.context, self.expected, self.last_offset = context, expected, last_offset


class Tags:
    """Tags, settings and resets; and the checks of every cycle.

    Attributes
    ----------
    allocations : list of Allocation
        All of them.
    bursts : list
        Bursts that were accepted, each with its cycle.
    departed : list
        Cycle, TLP and, by ``sent``, whether its completions count, of each read that left.
    """

    def __init__(self, bench, *, resets=0.0):
        self._bench, self._resets = bench, resets
        self.allocations, self.bursts, self.departed = [], [], []
        self.resets, self.enables, self.sizes = [], [], []
        self._pending = deque()

    def packets(self):
        rng = self._bench.rng
        while True:
            burst = random_burst(rng, self._bench.dut.word_bytes)
            self._pending.append(burst)
            yield [burst.payload]

    async def run(self, ctx):
        bench, dut, rng = self._bench, self._bench.dut, self._bench.rng
        ctx.set(dut.requester_id, REQUESTER)
        tag, enabled, code = 0, 1, 0
        was_departed = None
        while True:
            if rng.random() < 0.03:
                code = rng.randrange(3)
            if bench.ended or rng.random() < (0.02 if enabled else 0.2):
                enabled = int(bench.ended or not enabled)
            reset = not bench.ended and rng.random() < self._resets
            ctx.set(dut.bus_master_enable, enabled)
            ctx.set(dut.max_read_request_size, code)
            ctx.set(dut.reset, reset)
            ctx.set(dut.tag_free, rng.random() < 0.8)
            ctx.set(dut.tag, tag)
            self.resets.append(reset)
            self.enables.append(enabled)
            self.sizes.append(128 << code)
            signals = (
                *(dut.ar.valid, dut.ar.ready, dut.allocate, dut.context, dut.expected),
                *(dut.last_offset, dut.failed, dut.sent, dut.sent_tag, dut.former),
                *(dut.o.valid, dut.o.ready, dut.o.p.hdr),
            )
            _, _, ar_valid, ar_ready, allocates, *piece = await ctx.tick().sample(*signals)
            context, expected, last_offset, failed, sent, sent_tag, former, *read = piece
            valid, ready, header = read
            now = len(self.resets) - 1
            if sent:
                assert was_departed is not None and sent_tag == was_departed[1].tag
            if was_departed is not None:
                self.departed.append((*was_departed, bool(sent)))
            was_departed = None
            tlp = Tlp.unpack(header) if valid else None
            self._check_former(now, tlp, former)
            if valid and ready:
                was_departed = (now, tlp)
            if allocates:
                self.allocations.append(
                    Allocation(now, tag, context, expected, last_offset, failed)
                )
                tag = (tag + 1) % TAGS
            if ar_valid and ar_ready:
                self.bursts.append((self._pending.popleft(), now))

    def _check_former(self, now, tlp, former):
        """A read that is not former obeys the settings of two cycles before."""
        assert not former or tlp is not None
        if tlp is None or former or now < 2:
            return
        assert self.enables[now - 1], "a read without Bus Master Enable"
        size = max(self.sizes[now - 2 : now + 1])
        block = tlp.address // size
        assert block == (tlp.address + 4 * tlp.length - 1) // size, "a read is too long"


class Issuer(ReadIssuer):
    """The component, and the bytes of its words for the random bursts."""

    def __init__(self, width):
        super().__init__(geometry(width))
        self.word_bytes = width // 8


def run(width, *case, **options):
    dut = Issuer(width)
    bench = Bench(dut, width, *case)
    tags = Tags(bench, **options)
    bench.sink(dut.o)
    bench.process(tags.run)
    bench.source(dut.ar, tags.packets())
    bench.run(drain=120)
    assert len(tags.bursts) > 5
    return tags


def check_pieces(tags, word_bytes):
    """Walk through the bursts and their pieces; yields each piece with its address and size."""
    allocations = iter(tags.allocations)
    for burst, accepted in tags.bursts:
        if not burst.is_served(word_bytes):
            piece = next(allocations)
            assert piece.failed and piece.context.last
            assert (piece.context.id, piece.context.beats_m1) == (burst.id, burst.len)
            continue
        address, beats = burst.addr, 0
        while address <= burst.last_byte:
            piece = next(allocations)
            context = piece.context
            assert (context.id, context.size) == (burst.id, burst.size)
            assert context.offset == piece.expected.offset == address % REQUEST_BYTES
            last = address - context.offset + piece.last_offset
            assert context.beats_m1 == (last >> burst.size) - (address >> burst.size)
            assert context.last == (last == burst.last_byte)
            assert piece.expected.dwords == last // 4 - address // 4 + 1
            assert piece.expected.last_byte == last % 4
            yield piece, accepted, address, last - address + 1
            beats += context.beats_m1 + 1
            address = last + 1
        assert beats == burst.len + 1
    assert next(allocations, None) is None


@pytest.mark.parametrize("width", DATA_WIDTHS)
@pytest.mark.parametrize("resets", [0, 0.02])
def test_every_piece_gets_a_tag(width, resets):
    tags = run(width, resets, resets=resets)
    reads = deque(tags.departed)
    for piece, accepted, address, size in check_pieces(tags, width // 8):
        reset = any(tags.resets[accepted : piece.cycle + 1])
        if reset or not tags.enables[piece.cycle - 1]:
            assert piece.failed, "a piece does not fail"
        else:
            assert not piece.failed, "a piece fails"
        # A reset in the cycle of the allocation is too late to hold the read back.
        late = tags.resets[piece.cycle] and not any(tags.resets[accepted : piece.cycle])
        if piece.failed and not (late and tags.enables[piece.cycle - 1]):
            continue
        cycle, tlp, counts = reads.popleft()
        expected = memory_read(address, size, tag=piece.tag, requester_id=REQUESTER)
        assert tlp == expected
        assert counts == (not any(tags.resets[piece.cycle : cycle + 1]))
        violations = [
            *header_rules(tlp),
            *request_rules(
                tlp,
                requester_id=REQUESTER,
                max_payload_size=128,
                max_read_request_size=REQUEST_BYTES,
                extended_tags=False,
            ),
        ]
        assert not violations, "; ".join(map(str, violations))
    assert not reads
    assert resets or tags.departed


def test_a_read_every_other_cycle():
    dut = Issuer(512)
    bench = Bench(dut, paces=((0, 0),))
    burst = {"id": 0, "addr": 0, "len": 63, "size": 6, "burst": 1}

    async def settings(ctx):
        ctx.set(dut.bus_master_enable, 1)
        ctx.set(dut.tag_free, 1)
        ctx.set(dut.max_read_request_size, 5)

    bench.process(settings)
    bench.source(dut.ar, [[burst]])
    received = bench.sink(dut.o)
    bench.run()
    cycles = [beat["cycle"] for beat in received]
    assert len(cycles) == 4096 // REQUEST_BYTES
    assert {later - earlier for earlier, later in pairwise(cycles)} == {2}
