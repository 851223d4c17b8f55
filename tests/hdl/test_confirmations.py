# SPDX-License-Identifier: BSD-2-Clause
"""Confirmation of TLPs in a hard block: marks in order, and a bound on the TLPs in flight."""

import random
from collections import Counter, deque

import pytest
from simulation import simulate

from hdl.dma.confirmations import CONFIRMATIONS, ConfirmationQueue, ConfirmationSerializer


@pytest.mark.parametrize("depth", [2, 8])
@pytest.mark.parametrize("taken, confirmed", [(0.9, 0.2), (0.5, 0.5), (0.2, 0.9), (0.95, 0.9)])
def test_marks_are_returned_in_order(depth, taken, confirmed):
    dut = ConfirmationQueue(depth)
    rng = random.Random(depth)
    held = deque()
    seen = set()

    async def bench(ctx):
        for _ in range(400):
            assert ctx.get(dut.has_space) == (len(held) < depth)
            assert ctx.get(dut.empty) == (not held)
            takes = len(held) < depth and rng.random() < taken
            confirms = rng.random() < confirmed
            mark = rng.getrandbits(1)
            ctx.set(dut.accepted, takes)
            ctx.set(dut.mark, mark)
            # A confirmation without a TLP is ignored.
            ctx.set(dut.confirmed, confirms)
            leaves = held.popleft() if held and confirms else 0
            assert ctx.get(dut.marked) == leaves
            if takes:
                held.append(mark)
            seen.add(len(held))
            await ctx.tick()

    simulate(dut, bench)
    assert len(seen) > 1


@pytest.mark.parametrize("depth", [0, 1, 3, 33])
def test_depth_is_checked(depth):
    with pytest.raises(ValueError, match=f"depth is {depth}: must be a power of two of 2 or more"):
        ConfirmationQueue(depth)


@pytest.mark.parametrize("ports", [1, 2, 3])
@pytest.mark.parametrize("busy", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("stall", [0, 0.4])
def test_one_confirmation_per_cycle_after_the_end_of_its_tlp(ports, busy, stall):
    """Confirmations may come before the end of their TLP, or without one."""
    dut = ConfirmationSerializer(ports)
    rng = random.Random(ports)
    seen = Counter()

    async def bench(ctx):
        begun = whole = unused = remaining = 0
        for _ in range(600):
            # Beats of the TLPs.
            beat = rng.random() >= stall and (remaining > 0 or begun < CONFIRMATIONS)
            if beat and not remaining:
                begun += 1
                remaining = rng.randint(1, 4)
            remaining -= beat
            ctx.set(dut.beat, beat)
            ctx.set(dut.last, beat and not remaining)
            pulses = sum((rng.random() < busy / ports) << port for port in range(ports))
            ctx.set(dut.i, pulses)
            unused += pulses.bit_count()
            seen["without a TLP"] += unused > begun
            unused = min(unused, begun)
            seen["early"] += unused > whole
            confirmed = unused > 0 and whole > 0
            assert ctx.get(dut.o) == confirmed
            unused -= confirmed
            begun -= confirmed
            whole += (beat and not remaining) - confirmed
            seen["waits"] += unused > 1
            await ctx.tick()

    simulate(dut, bench)
    assert busy < 0.5 or (seen["early"] and seen["without a TLP"])


def test_ports_are_checked():
    with pytest.raises(ValueError, match="ports is 0: must be 1 or more"):
        ConfirmationSerializer(0)
