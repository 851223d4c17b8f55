# SPDX-License-Identifier: BSD-2-Clause
"""The write sender: segments leave as memory writes or are discarded, in their order."""

from collections import deque
from dataclasses import dataclass

import pytest
from streams import UNTHROTTLED, Bench, geometry, packets_of, tlp_of

from hdl.block_options import NO_OPTIONS, BlockOptions
from hdl.dma.limits import REQUEST_BYTES
from hdl.dma.write_sender import WriteSender
from testbench.tlp.packets import memory_write
from testbench.tlp.rules import header_rules, request_rules

REQUESTER = 0x1234
NUMBERED = BlockOptions(sequence_numbers=True)
CASES = [
    pytest.param(64, NO_OPTIONS, id="64"),
    pytest.param(128, NUMBERED, id="128, numbered"),
    pytest.param(256, NO_OPTIONS, id="256"),
    pytest.param(512, NUMBERED, id="512, numbered"),
]


@dataclass
class Segment:
    """A segment of a burst; one without content only ends its burst."""

    burst: int
    ends: bool
    address: int = 0
    content: bytes = b""
    discarded: bool = False

    @property
    def tlp(self):
        """The memory write of the segment."""
        return memory_write(self.address, self.content, requester_id=REQUESTER)

    @property
    def is_written(self):
        """It leaves as a memory write."""
        return bool(self.content) and not self.discarded

    def fields(self):
        """The segment on its stream."""
        if not self.content:
            return {"ends": self.ends, "empty": 1}
        return {
            "ends": self.ends,
            "empty": 0,
            "last_byte": (self.address + len(self.content) - 1) % 4,
            "length_m1": self.tlp.length - 1,
            "address": self.address,
        }


def random_burst(rng, number):
    """The segments of a burst; the last one may be empty."""
    count = rng.choice([1, 1, 2, 5])
    segments = [Segment(number, place == count - 1) for place in range(count)]
    for segment in segments:
        offset = rng.choice([0, 1, 64, rng.randrange(REQUEST_BYTES)])
        size = rng.choice([1, 4, 16, 64, rng.randint(1, 300)])
        segment.address = rng.getrandbits(rng.choice([23, 55])) * REQUEST_BYTES + offset
        segment.content = rng.randbytes(min(size, REQUEST_BYTES - offset))
    if rng.random() < 0.2:
        segments[-1].content = b""
    return segments


class Flow:
    """Segments and their data, failures of bursts, Bus Master Enable, and the hard block.

    Attributes
    ----------
    segments : list of Segment
        Segments so far.
    """

    def __init__(self, bench, *, stops=0.0, failures=0.0, numbered=False):
        self._bench, self._stops, self._failures = bench, stops, failures
        self._numbered = numbered
        self.segments = []
        self._words = deque()
        # Cycle since which a burst has failed.
        self._failed = {}
        self._accepted = 0
        # TLPs that have left the output, and those that have left the hard block.
        self._left = self._confirmed = 0
        self.segments_departed = self.bursts_departed = self.bursts_sent = 0

    def packets(self):
        """Segments for their stream."""
        rng, number = self._bench.rng, 0
        while True:
            if rng.random() < self._failures:
                self._failed[number] = -2
            for segment in random_burst(rng, number):
                yield self.packet(segment)
            number += 1

    def packet(self, segment):
        """A segment for its stream; its data is there at the same time."""
        self.segments.append(segment)
        if segment.content:
            beats = segment.tlp.beats(len(self._bench.dut.beats.p))
            self._words.extend(beat["data"] for beat in beats)
        return [segment.fields()]

    async def data(self, ctx):
        """The payload, without a pause."""
        stream = self._bench.dut.beats
        while True:
            ctx.set(stream.valid, bool(self._words))
            ctx.set(stream.p, self._words[0] if self._words else 0)
            _, _, valid, ready = await ctx.tick().sample(stream.valid, stream.ready)
            if valid and ready:
                self._words.popleft()

    def _written(self, count):
        """Memory writes among the first ``count`` segments."""
        return sum(segment.is_written for segment in self.segments[:count])

    def _end_of(self, burst):
        """Number of segments up to the end of a burst."""
        return 1 + max(
            place for place, segment in enumerate(self.segments) if segment.burst == burst
        )

    async def run(self, ctx):
        """Settings, failures and confirmations, and the checks of every cycle."""
        bench, dut, rng = self._bench, self._bench.dut, self._bench.rng
        ctx.set(dut.requester_id, REQUESTER)
        enabled = was_enabled = 1
        while True:
            if bench.ended or not enabled:
                enabled = int(bench.ended or rng.random() < 0.1)
            elif rng.random() < self._stops:
                enabled = 0
            ctx.set(dut.bus_master_enable, enabled)
            now = bench.cycle + 1
            abort = False
            if self._accepted < len(self.segments):
                burst = self.segments[self._accepted].burst
                # It may lag by one cycle.
                abort = self._failed.get(burst, now) <= now - 2
            ctx.set(dut.abort, abort)
            unconfirmed = self._left - self._confirmed if self._numbered else 0
            confirms = self._numbered and rng.random() < 0.3
            ctx.set(dut.confirmed, confirms)
            assert ctx.get(dut.empty) == (unconfirmed == 0)
            valid = ctx.get(dut.o.valid)
            # A TLP that began before is former; none begins.
            assert was_enabled or not valid or ctx.get(dut.former), (
                "a write without Bus Master Enable"
            )
            was_enabled = enabled

            signals = (dut.discards, dut.sent, dut.segment_departed, dut.burst_departed)
            _, _, discards, sent, segment, burst, *rest = await ctx.tick().sample(
                *signals,
                *(dut.segments.valid, dut.segments.ready),
                *(dut.o.valid, dut.o.ready, dut.o.p.eop),
            )
            if discards:
                assert abort or not enabled, "a segment is discarded that may be sent"
                discarded = self.segments[self._accepted]
                discarded.discarded = True
                assert self._left == self._written(self._accepted), "discarded out of order"
                assert unconfirmed == 0, "discarded before earlier writes have departed"
                self._failed.setdefault(discarded.burst, bench.cycle)
            departed = self._confirmed if self._numbered else self._left
            if segment:
                self.segments_departed += 1
                assert self._left >= self._written(self.segments_departed)
            if burst:
                end = self._end_of(self.bursts_departed)
                self.bursts_departed += 1
                assert departed >= self._written(end), "a burst departs before its writes"
            segment_valid, segment_ready, *output = rest
            if segment_valid and segment_ready:
                self._accepted += 1
            self.bursts_sent += sent
            self._left += all(output)
            self._confirmed += bool(confirms and unconfirmed)


def run(width, *case, block=NO_OPTIONS, **options):
    """Send segments; returns the flow, and the TLPs that leave."""
    dut = WriteSender(geometry(width, block=block))
    bench = Bench(dut, width, *case)
    flow = Flow(bench, numbered=block.sequence_numbers, **options)
    received = bench.sink(dut.o)
    bench.source(dut.segments, flow.packets())
    bench.process(flow.data)
    # Behind the source: `abort` is for the segment that becomes valid.
    bench.process(flow.run)
    bench.run(drain=200)
    tlps = [tlp_of(packet) for packet in packets_of(received)]
    assert tlps == [segment.tlp for segment in flow.segments if segment.is_written]
    bursts = flow.segments[-1].burst + flow.segments[-1].ends
    assert flow.segments_departed == len(flow.segments)
    assert flow.bursts_departed == flow.bursts_sent == bursts
    for tlp in tlps:
        violations = [
            *header_rules(tlp),
            *request_rules(
                tlp,
                requester_id=REQUESTER,
                max_payload_size=REQUEST_BYTES,
                max_read_request_size=REQUEST_BYTES,
                extended_tags=False,
            ),
        ]
        assert not violations, "; ".join(map(str, violations))
    return flow


@pytest.mark.parametrize("width, block", CASES)
def test_segments_leave_as_memory_writes(width, block):
    flow = run(width, "all", block=block)
    assert len(flow.segments) > 5
    assert not any(segment.discarded for segment in flow.segments)


@pytest.mark.parametrize("width, block", CASES)
def test_failed_bursts_and_those_without_bus_mastering_are_discarded(width, block):
    flow = run(width, "discards", block=block, stops=0.03, failures=0.2)
    first = {}
    for segment in flow.segments:
        if not segment.content:
            continue
        # Nothing of a burst is sent once a segment was discarded.
        assert segment.discarded or not first.get(segment.burst)
        first[segment.burst] = segment.discarded


def test_a_beat_per_cycle():
    dut = WriteSender(geometry(64))
    bench = Bench(dut, paces=UNTHROTTLED)
    flow = Flow(bench)
    received = bench.sink(dut.o)
    segments = [Segment(0, False, 0, bytes(REQUEST_BYTES)), Segment(0, True, 512, bytes(64))]
    bench.source(dut.segments, (flow.packet(segment) for segment in segments))
    bench.process(flow.data)
    bench.process(flow.run)
    bench.run()
    cycles = [beat["cycle"] for beat in received]
    assert cycles == list(range(cycles[0], cycles[0] + 64 + 8))
