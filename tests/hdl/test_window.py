# SPDX-License-Identifier: BSD-2-Clause
"""The DMA window: reads and writes at once, their failures in a reset; and its stand-in."""

import pytest
from burst_model import bytes_of, endless, random_burst, write_source
from streams import Bench, geometry, packets_of, tlp_of

from hdl.dma.window import DmaWindow, NoDmaWindow
from hdl.errors import COMPLETION_ERRORS
from testbench.tlp import Tlp
from testbench.tlp.packets import completion, enabled_bytes

SLVERR = 2
REQUESTER = 0x0508


def content(address):
    """A byte of host memory."""
    return (address * 151 ^ address >> 9) & 0xFF


class Window:
    """A window with bursts of both kinds, and a host that completes its reads."""

    def __init__(self, width, *case, resets=0):
        self.width = width
        self.dut = dut = DmaWindow(geometry(width), completion_timeout=1 << 20)
        self.bench = bench = Bench(dut, width, *case, period=15)
        self._resets = resets
        self._reads = []
        self.read_bursts = []
        self.outstanding = []
        bench.process(self._settings)
        bench.source(dut.axi.ar, self._read_packets())
        self.write_bursts = write_source(
            bench, dut.axi.aw, dut.axi.w, width // 8, endless(self._burst)
        )
        self.writes = bench.sink(dut.writes)
        bench.sink(dut.reads, lambda beat: self._reads.append(Tlp.unpack(beat["hdr"])))
        self.answers = bench.sink(dut.axi.b)
        self.data = bench.sink(dut.axi.r)
        bench.process(self._complete)
        self.pulses = {
            name: bench.count(signal)
            for name, signal in (
                ("read_failed", dut.read_failed),
                ("write_failed", dut.write_failed),
                ("accepted", dut.fence.accepted),
                ("departed", dut.fence.departed),
                *((cause.name, getattr(dut.errors, cause.name)) for cause in COMPLETION_ERRORS),
            )
        }
        bench.monitor(self._follow_fence, dut.fence.pending)
        bench.monitor(self.outstanding.append, dut.outstanding)
        bench.scenario(self._answered)

    async def _answered(self, ctx):
        """Wait until every burst is answered: sparse strobes take many cycles per word."""
        while (
            not self.bench.ended
            or len(self.answers) < len(self.write_bursts)
            or len(self.data) < sum(burst.len + 1 for burst in self.read_bursts)
        ):
            await ctx.tick()

    def _burst(self):
        # Short bursts, so that there are many.
        return next(burst for burst in endless(self._any_burst) if burst.len < 16)

    def _any_burst(self):
        return random_burst(self.bench.rng, self.width // 8, served=True)

    def _read_packets(self):
        while True:
            self.read_bursts.append(self._burst())
            yield [self.read_bursts[-1].payload]

    async def _settings(self, ctx):
        control = self.dut.control
        for name, value in (
            ("requester_id", REQUESTER),
            ("bus_master_enable", 1),
            ("max_payload_size", 1),
            ("max_read_request_size", 2),
        ):
            ctx.set(getattr(control, name), value)
        while True:
            reset = self.bench.cycle in self._resets if self._resets else False
            ctx.set(control.reset, reset)
            await ctx.tick()

    async def _complete(self, ctx):
        """Complete the reads in their order, each at once."""
        stream, bench = self.dut.completions, self.bench
        while True:
            while not self._reads or bench.stalls():
                await ctx.tick()
            read = self._reads.pop(0)
            start = read.address
            payload = bytes(content(start + place) for place in range(4 * read.length))
            for beat in completion(read, 0, payload).beats(self.width):
                for name, value in {**beat, "error": 0}.items():
                    ctx.set(stream.p[name], value)
                ctx.set(stream.valid, 1)
                await ctx.tick()
                ctx.set(stream.valid, 0)

    def _follow_fence(self, pending):
        """``pending`` counts the bursts before this cycle; both pulses come with the count."""
        before = [
            sum(cycle < self.bench.cycle for cycle in self.pulses[name])
            for name in ("accepted", "departed")
        ]
        assert pending == before[0] - before[1], f"{pending} writes are pending"


@pytest.mark.parametrize("width", [64, 256])
def test_reads_and_writes_at_once(width):
    window = Window(width)
    window.bench.run()
    written, expected = [], []
    for packet in packets_of(window.writes):
        tlp = tlp_of(packet)
        enabled = enabled_bytes(tlp)
        written += [
            (tlp.address + place, value)
            for place, value in enumerate(tlp.payload)
            if enabled[place]
        ]
    for burst, beats in window.write_bursts:
        expected += bytes_of(burst, beats, width // 8).items()
    assert written == expected
    beats = iter(window.data)
    for burst in window.read_bursts:
        for first, last in burst.beats():
            beat = next(beats)
            for address in range(first, last + 1):
                found = beat["data"] >> 8 * (address % (width // 8)) & 0xFF
                assert found == content(address)
    assert next(beats, None) is None
    counts = {name: len(cycles) for name, cycles in window.pulses.items() if cycles}
    assert counts == dict.fromkeys(("accepted", "departed"), len(window.write_bursts))
    assert 1 in window.outstanding and not window.outstanding[-1]


@pytest.mark.parametrize("width", [128, 512])
def test_reset_fails_what_is_in_flight(width):
    """Every burst is answered; completions of failed reads are unexpected."""
    window = Window(width, "resets", resets=range(20, 130, 15))
    window.bench.run()
    failed_writes = [beat for beat in window.answers if beat["resp"] == SLVERR]
    assert len(window.answers) == len(window.write_bursts)
    assert len(window.pulses["write_failed"]) == len(failed_writes)
    assert len(window.data) == sum(burst.len + 1 for burst in window.read_bursts)
    failed_reads = [beat for beat in window.data if beat["resp"] == SLVERR]
    assert failed_reads and window.pulses["read_failed"]
    assert all(beat["data"] == 0 for beat in failed_reads)
    unexpected = window.pulses["completion_unexpected"]
    others = {"completion_unexpected", "accepted", "departed", "read_failed", "write_failed"}
    assert unexpected
    assert not any(cycles for name, cycles in window.pulses.items() if name not in others)
    assert not window.outstanding[-1]


def test_without_a_window_every_completion_is_unexpected():
    dut = NoDmaWindow(geometry(64))
    bench = Bench(dut)
    sent = []

    def packets():
        while True:
            sent.append(completion(Tlp(0, length=4), 0, bytes(16)))
            yield [{**beat, "error": 0} for beat in sent[-1].beats(64)]

    bench.source(dut.completions, packets())
    unexpected = bench.count(dut.errors.completion_unexpected)
    bench.run()
    assert len(unexpected) == len(sent)
