# SPDX-License-Identifier: BSD-2-Clause
"""The ring of write bursts: each answered once, in order, with the failure that happened to it."""

from dataclasses import dataclass

import pytest
from streams import Bench

from hdl.dma.limits import PENDING_WRITES
from hdl.dma.write_bursts import WriteBursts

OKAY, SLVERR = 0, 2


@dataclass
class Burst:
    """A burst in flight: how far it is, and when it failed."""

    id: int
    begun: int
    sent: int | None = None
    departed: int | None = None
    answered: int | None = None
    failed: int | None = None
    discarded: int | None = None

    def fail(self, cycle):
        if self.failed is None:
            self.failed = cycle


class Flow:
    """Bursts that begin, fail, are sent and depart at random."""

    def __init__(self, bench, *, begins, departs, resets):
        self._bench = bench
        self._rates = begins, departs, resets
        self.bursts = []
        self.failures = 0
        self.most = 0

    def answer(self, beat):
        """A beat of B."""
        burst = next(burst for burst in self.bursts if burst.answered is None)
        now = burst.answered = beat["cycle"]
        assert burst.departed is not None and burst.departed < now, "answered before it departed"
        assert beat["id"] == burst.id
        failed = beat["resp"] == SLVERR
        assert failed or beat["resp"] == OKAY
        # The response is chosen when the burst departs, or later.
        if burst.failed is None or burst.failed <= burst.departed:
            assert failed == (burst.failed is not None)

    async def run(self, ctx):
        bench, dut, rng = self._bench, self._bench.dut, self._bench.rng
        begins, departs, resets = self._rates
        while True:
            newest = self.bursts[-1] if self.bursts else None
            to_send = next((burst for burst in self.bursts if burst.sent is None), None)
            to_depart = next((burst for burst in self.bursts if burst.departed is None), None)
            begun = ctx.get(dut.has_space) and not bench.ended and rng.random() < begins
            axi_id = rng.getrandbits(8)
            ctx.set(dut.begin, begun)
            ctx.set(dut.id, axi_id)
            # Only a burst that has not been sent can fail, not before the cycle after it begins.
            failing = newest is not None and newest.sent is None and rng.random() < 0.05
            ctx.set(dut.failing, failing)
            reset = not bench.ended and rng.random() < resets
            ctx.set(dut.reset, reset)
            now = bench.cycle + 1
            old = to_send is not None and to_send.begun < now - 2
            discards = old and to_send.discarded is None and rng.random() < 0.05
            ctx.set(dut.discarded, discards)
            # A segment is sent after the cycle in which it is discarded.
            sends = old and not discards and rng.random() < departs
            ctx.set(dut.sent, sends)
            departed = to_depart is not None and to_depart.sent is not None
            departed = departed and rng.random() < departs
            ctx.set(dut.departed, departed)
            abort, failed = ctx.get(dut.abort), ctx.get(dut.failed)
            self.failures += failed
            if old and to_send.failed is not None and to_send.failed < now - 2:
                assert abort, "a failed burst is not aborted"
            if old and to_send.failed is None:
                assert not abort, "a burst is aborted that has not failed"
            # A response that is valid has left the ring.
            in_flight = sum(burst.answered is None for burst in self.bursts)
            in_flight -= ctx.get(dut.b.valid)
            self.most = max(self.most, in_flight)
            assert in_flight < PENDING_WRITES or not begun, "too many bursts"
            await ctx.tick()
            now = bench.cycle
            if failing:
                newest.fail(now)
            if discards:
                to_send.discarded = now
                to_send.fail(now)
            if sends:
                to_send.sent = now
            if departed:
                to_depart.departed = now
            if begun:
                self.bursts.append(Burst(axi_id, now))
            if reset:
                for burst in self.bursts:
                    if burst.answered is None:
                        burst.fail(now)


@pytest.mark.parametrize("begins, departs", [(0.9, 0.2), (0.5, 0.5), (0.2, 0.9)])
@pytest.mark.parametrize("resets", [0, 0.03])
def test_bursts_are_answered_in_order(begins, departs, resets):
    dut = WriteBursts()
    bench = Bench(dut, begins, resets)
    flow = Flow(bench, begins=begins, departs=departs, resets=resets)
    responses = bench.sink(dut.b, flow.answer)
    bench.process(flow.run)
    bench.run(drain=100)
    assert all(burst.answered is not None for burst in flow.bursts)
    assert len(flow.bursts) > 10
    assert flow.failures == sum(beat["resp"] == SLVERR for beat in responses)
    assert begins < 0.9 or flow.most == PENDING_WRITES
