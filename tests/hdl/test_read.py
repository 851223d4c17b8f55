# SPDX-License-Identifier: BSD-2-Clause
"""The read half of the DMA window against a completer that splits and reorders its answers."""

import pytest
from burst_model import Burst, endless, random_burst
from streams import Bench, geometry, tlp_of

from hdl.block_options import BlockOptions
from hdl.dma.limits import TAGS
from hdl.dma.read import ReadRequester
from hdl.tlp import DATA_WIDTHS
from testbench.tlp import CplStatus, Tlp, TlpKind
from testbench.tlp.packets import request_bytes

OKAY, SLVERR = 0, 2
REQUESTER_ID = 0xA5C3
BOUNDARY = 64


def memory(address):
    """The byte at ``address`` of host memory."""
    return (address * 167 ^ (address >> 7) * 59) & 0xFF


class Completer:
    """Answers memory reads: several completions each, in any order among the reads.

    Attributes
    ----------
    reads : list of Tlp
        Every read.
    failed : list of Tlp
        Reads that failed.
    outstanding : dict
        By tag, the completions that are still to be sent.
    """

    def __init__(self, bench, dut, width, *, errors=0.0, answers=True):
        self._bench = bench
        self._errors = errors
        self.reads, self.failed = [], []
        self.outstanding = {}
        bench.sink(dut.o, self._accept)
        if answers:
            bench.process(self._process(dut.completions, width))

    def _accept(self, beat):
        assert beat["sop"] and beat["eop"]
        tlp = tlp_of([{**beat, "data": 0, "strb": 0}])
        assert tlp.requester_id == REQUESTER_ID
        assert tlp.tag not in self.outstanding
        self.reads.append(tlp)
        self.outstanding[tlp.tag] = self._completions(tlp)

    def _completions(self, read):
        address, size = request_bytes(read)
        rng = self._bench.rng
        end = address + size
        completions = []
        while address < end:
            fields = {"tag": read.tag, "requester_id": REQUESTER_ID, "completer_id": 0}
            fields |= {"byte_count": end - address, "lower_address": address & 0x7F}
            if rng.random() < self._errors:
                self.failed.append(read)
                status = rng.choice([CplStatus.UR, CplStatus.CA])
                return [*completions, Tlp(TlpKind.CPL, status=status, **fields)]
            edge = min(end, (address // BOUNDARY + rng.randint(1, 8)) * BOUNDARY)
            start, stop = address & ~3, -(-edge // 4) * 4
            payload = bytes(map(memory, range(start, stop)))
            completions.append(
                Tlp(TlpKind.CPLD, length=(stop - start) // 4, payload=payload, **fields)
            )
            address = edge
        return completions

    def _process(self, stream, width):
        async def process(ctx):
            rng = self._bench.rng
            while True:
                while self._bench.idles() or not self.outstanding:
                    await ctx.tick()
                tag = rng.choice(list(self.outstanding))
                completion = self.outstanding[tag].pop(0)
                if not self.outstanding[tag]:
                    del self.outstanding[tag]
                for beat in completion.beats(width):
                    while self._bench.idles():
                        await ctx.tick()
                    for name, value in beat.items():
                        # The header is valid on the first beat only.
                        unused = name == "hdr" and not beat["sop"]
                        ctx.set(stream.p[name], rng.getrandbits(128) if unused else value)
                    ctx.set(stream.valid, 1)
                    await ctx.tick()
                    ctx.set(stream.valid, 0)

        return process


def window(width, *, code=2, timeout=1 << 20, **options):
    """A read half and its settings, for :func:`settings`."""
    block = {"block": BlockOptions(**options)} if options else {}
    dut = ReadRequester(geometry(width, **block), completion_timeout=timeout)
    return dut, {"requester_id": REQUESTER_ID, "max_read_request_size": code}


def settings(bench, control, **values):
    """Drive the settings of a window for the whole test."""

    async def process(ctx):
        for name, value in values.items():
            ctx.set(getattr(control, name), value)

    bench.process(process)


def drive_bursts(bench, dut, make):
    """Drive bursts of ``make`` on AR; returns the list of those driven."""
    sent = []

    def packets():
        for burst in endless(make):
            sent.append(burst)
            yield [burst.payload]

    bench.source(dut.ar, packets())
    return sent


def check_data(bursts, beats, width, is_failed):
    """Compare the beats on R with the bursts; ``is_failed`` of an address: its read failed."""
    size = width // 8
    for burst in bursts:
        for number, (first, last) in enumerate(burst.beats()):
            beat = beats.pop(0)
            fails = not burst.is_served(size) or is_failed(first)
            assert beat["id"] == burst.id
            assert beat["last"] == (number == burst.len)
            assert beat["resp"] == (SLVERR if fails else OKAY), burst
            for address in range(first, last + 1) if burst.is_served(size) else ():
                seen = beat["data"] >> 8 * (address % size) & 0xFF
                assert seen == (0 if fails else memory(address)), (burst, hex(address))
    assert not beats


@pytest.mark.parametrize("width", DATA_WIDTHS)
@pytest.mark.parametrize("code", [0, 2])
def test_data_is_returned_in_order(width, code):
    dut, control = window(width, code=code)
    bench = Bench(dut, width, code, period=80)
    settings(bench, dut.control, bus_master_enable=1, **control)
    completer = Completer(bench, dut, width)
    bursts = drive_bursts(bench, dut, lambda: random_burst(bench.rng, width // 8))
    beats = bench.sink(dut.r)
    bench.run(drain=200)
    block = 128 << code
    for read in completer.reads:
        assert read.address // block == (read.address + 4 * read.length - 1) // block
    check_data(bursts, beats, width, lambda address: False)
    assert len(bursts) > 5


@pytest.mark.parametrize("width", DATA_WIDTHS)
def test_failed_reads_are_answered_with_an_error(width):
    """Bursts that are disjoint, so that an address tells its read."""
    dut, control = window(width)
    bench = Bench(dut, width, period=80)
    settings(bench, dut.control, bus_master_enable=1, **control)
    completer = Completer(bench, dut, width, errors=0.2)
    size = (width // 8).bit_length() - 1
    pages = iter(range(1 << 20))
    bursts = drive_bursts(
        bench,
        dut,
        lambda: Burst(
            bench.rng.getrandbits(8), next(pages) << 12, bench.rng.randint(0, 63), size, 1
        ),
    )
    beats = bench.sink(dut.r)
    pulses = [
        bench.count(getattr(dut.errors, f"completion_{name}"))
        for name in ("unsupported", "aborted", "unexpected")
    ]
    bench.run(drain=1000)
    ranges = [request_bytes(read) for read in completer.failed]

    def is_failed(address):
        return any(start <= address < start + length for start, length in ranges)

    check_data(bursts, beats, width, is_failed)
    unsupported, aborted, unexpected = map(len, pulses)
    assert unsupported + aborted == len(completer.failed) > 0
    assert not unexpected


@pytest.mark.parametrize("width", [64, 512])
def test_unanswered_reads_time_out(width):
    dut, control = window(width, timeout=64)
    bench = Bench(dut, width)
    settings(bench, dut.control, bus_master_enable=1, **control)
    completer = Completer(bench, dut, width, answers=False)
    # The completer frees a tag when the read times out.
    completer.outstanding = type("Any", (dict,), {"__contains__": lambda self, tag: False})()
    bursts = drive_bursts(bench, dut, lambda: random_burst(bench.rng, width // 8, served=True))
    beats = bench.sink(dut.r)
    timeouts = bench.count(dut.errors.completion_timeout)
    bench.run(drain=400)
    check_data(bursts, beats, width, lambda address: True)
    assert len(timeouts) == len(completer.reads) > 3


@pytest.mark.parametrize("width", [64, 256])
def test_without_bus_mastering_every_burst_fails(width):
    dut, control = window(width)
    bench = Bench(dut, width)
    settings(bench, dut.control, **control)
    completer = Completer(bench, dut, width)
    bursts = drive_bursts(bench, dut, lambda: random_burst(bench.rng, width // 8))
    beats = bench.sink(dut.r)
    bench.run(drain=200)
    assert not completer.reads
    check_data(bursts, beats, width, lambda address: True)


@pytest.mark.parametrize("width", [64, 512])
@pytest.mark.parametrize("headers", [8, 20])
def test_completions_fit_the_receive_buffer(width, headers):
    """A completer that never answers: the reads sent need no more completions than fit."""
    dut, control = window(width, completion_headers=headers)
    bench = Bench(dut, width, headers)
    settings(bench, dut.control, bus_master_enable=1, **control)
    completer = Completer(bench, dut, width, answers=False)

    async def addresses(ctx):
        while True:
            burst = random_burst(bench.rng, width // 8, served=True)
            for name, value in burst.payload.items():
                ctx.set(dut.ar.p[name], value)
            ctx.set(dut.ar.valid, 1)
            ready = False
            while not ready:
                _, _, ready = await ctx.tick().sample(dut.ar.ready)

    bench.process(addresses)
    bench.run()
    needed = 0
    for read in completer.reads:
        address, size = request_bytes(read)
        needed += (address + size - 1) // BOUNDARY - address // BOUNDARY + 1
    assert headers - 8 < needed <= headers or len(completer.reads) == TAGS
