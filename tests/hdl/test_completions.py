# SPDX-License-Identifier: BSD-2-Clause
"""The receiver of completions: each is matched with its read, stored, and judged."""

from collections import Counter

import pytest
from streams import Bench, geometry

from hdl.dma.completions import CompletionReceiver
from hdl.dma.limits import TAGS
from hdl.tlp import DATA_WIDTHS
from testbench.tlp import CplStatus, Tlp, TlpKind

REQUESTER_ID = 0xA5C3
BLOCK = 512
FAULTS = ("UR", "CA", "poisoned", "byte count", "lower address", "length", "truncated")
FOREIGN = ("tag", "requester ID")
ERRORS = {"UR": "unsupported", "CA": "aborted", "poisoned": "poisoned"}


class Read:
    """An outstanding read of random bytes of its block."""

    def __init__(self, rng, tag):
        self.tag = tag
        self.first = rng.randrange(BLOCK)
        self.last = min(BLOCK - 1, self.first + rng.choice([0, 7, 63, rng.randrange(BLOCK)]))
        self.address = self.first
        self.data = {}
        self.failed = False

    def completion(self, rng, kind):
        """The next completion, with a fault or a foreign field of ``kind``, and where it ends."""
        edge = min(self.last + 1, (self.address // 64 + rng.randint(1, 8)) * 64)
        start, stop = self.address & ~3, -(-edge // 4) * 4
        tlp = Tlp(
            TlpKind.CPLD,
            tag=self.tag,
            requester_id=REQUESTER_ID,
            byte_count=self.last + 1 - self.address,
            lower_address=self.address & 0x7F,
            length=(stop - start) // 4,
            payload=rng.randbytes(stop - start),
        )
        lacking = self.last // 4 - self.address // 4 + 1
        match kind:
            case "UR" | "CA":
                status = {"UR": CplStatus.UR, "CA": CplStatus.CA}[kind]
                tlp = tlp.replace(kind=TlpKind.CPL, status=status, length=0, payload=b"")
            case "poisoned":
                tlp = tlp.replace(ep=1)
            case "byte count":
                tlp = tlp.replace(byte_count=tlp.byte_count + rng.choice([4, 64]))
            case "lower address":
                tlp = tlp.replace(lower_address=tlp.lower_address ^ 0x40)
            case "length":
                dwords = lacking + rng.randint(1, 3)
                tlp = tlp.replace(length=dwords, payload=rng.randbytes(4 * dwords))
            case "tag":
                tlp = tlp.replace(tag=tlp.tag | rng.choice([0x20, 0x40, 0x100, 0x200]))
            case "requester ID":
                tlp = tlp.replace(requester_id=tlp.requester_id ^ 1 << rng.randrange(16))
        return tlp, edge


class Completer:
    """Begins reads and completes them, some of them wrongly.

    Attributes
    ----------
    outcomes : list
        Expected results of completions: tag, ended, failed.
    errors : Counter
        Expected number of pulses of each error.
    """

    def __init__(self, bench, dut, width):
        self._bench, self._dut, self._width = bench, dut, width
        self._reads = {}
        self._ready = []
        self.outcomes = []
        self.errors = Counter()
        bench.process(self._begin)
        bench.process(self._complete)
        outcome, buffer = dut.outcome, dut.buffer
        self._stored = {}
        self.seen = []
        bench.monitor(
            self._watch,
            *(buffer.enable, buffer.data, *buffer.address),
            *(outcome.tag, outcome.ended, outcome.failed),
        )

    def _watch(self, enable, data, *rest):
        *addresses, tag, ended, failed = rest
        word_bytes = self._width // 8
        for lane, address in enumerate(addresses):
            if enable >> lane & 1:
                owner, word = divmod(address, BLOCK // word_bytes)
                place = word * word_bytes + 4 * lane
                for byte in range(4):
                    value = data >> 32 * lane + 8 * byte & 0xFF
                    self._stored[owner, place + byte] = value
        if ended or failed:
            self.seen.append((tag, bool(ended), bool(failed)))
        if ended:
            read = self._reads[tag]
            if not failed and not read.failed:
                for place in range(read.first, read.last + 1):
                    assert self._stored[tag, place] == read.data[place]

    async def _begin(self, ctx):
        """Begin reads, and free the tags of those that ended, as the tags of the window do."""
        rng, dut = self._bench.rng, self._dut
        ctx.set(dut.requester_id, REQUESTER_ID)
        free = list(range(TAGS))
        while True:
            read = Read(rng, rng.choice(free)) if free and rng.random() < 0.3 else None
            ctx.set(dut.expectation.begin, read is not None)
            if read is not None:
                data = dut.expectation.data
                ctx.set(dut.expectation.tag, read.tag)
                ctx.set(data.offset, read.first)
                ctx.set(data.dwords, read.last // 4 - read.first // 4 + 1)
                ctx.set(data.last_byte, read.last % 4)
            values = (dut.expectation.busy, dut.outcome.ended, dut.outcome.tag)
            _, _, busy, ended, tag = await ctx.tick().sample(*values)
            if ended:
                ctx.set(dut.outstanding[tag], 0)
                free.append(tag)
            if read is not None and not busy:
                free.remove(read.tag)
                self._reads[read.tag] = read
                self._ready.append(read)
                ctx.set(dut.outstanding[read.tag], 1)

    async def _complete(self, ctx):
        bench, stream = self._bench, self._dut.i
        rng = bench.rng
        while True:
            while bench.ended or bench.idles() or not self._ready:
                await ctx.tick()
            read = rng.choice(self._ready)
            kind = rng.choice(FAULTS + FOREIGN) if rng.random() < 0.5 else None
            tlp, edge = read.completion(rng, kind)
            self._expect(read, tlp, kind, edge)
            beats = list(tlp.beats(self._width))
            if kind == "truncated" and len(beats) > 1 and rng.random() < 0.5:
                del beats[-1]
                beats[-1]["eop"] = 1
            elif kind == "truncated":
                beats[-1]["strb"] >>= 1
            count = len(beats)
            if read not in self._ready and rng.random() < 0.3:
                # A second answer at once: the read is no longer outstanding.
                self.errors["unexpected"] += 1
                beats *= 2
            for number, beat in enumerate(beats):
                while number < count and bench.idles():
                    await ctx.tick()
                for name, value in beat.items():
                    ctx.set(stream.p[name], value)
                ctx.set(stream.valid, 1)
                await ctx.tick()
                ctx.set(stream.valid, 0)

    def _expect(self, read, tlp, kind, edge):
        if kind in FOREIGN:
            self.errors["unexpected"] += 1
            return
        if kind in ERRORS:
            self.errors[ERRORS[kind]] += 1
        start = read.address & ~3
        read.data |= {start + place: byte for place, byte in enumerate(tlp.payload)}
        read.failed |= kind is not None
        ended = kind not in (None, "poisoned") or edge == read.last + 1
        if ended:
            self._ready.remove(read)
        if ended or kind is not None:
            self.outcomes.append((read.tag, ended, kind is not None))
        read.address = edge


@pytest.mark.parametrize("width", DATA_WIDTHS)
def test_completions_are_matched_stored_and_judged(width):
    dut = CompletionReceiver(geometry(width))
    bench = Bench(dut, width, period=250)
    completer = Completer(bench, dut, width)
    pulses = {
        name: bench.count(getattr(dut.errors, f"completion_{name}"))
        for name in ("unexpected", "unsupported", "aborted", "poisoned")
    }
    bench.run()
    assert completer.seen == completer.outcomes
    assert {name: len(cycles) for name, cycles in pulses.items()} == {
        name: completer.errors[name] for name in pulses
    }
    assert sum(ended and not failed for _, ended, failed in completer.seen) > 5
