# SPDX-License-Identifier: BSD-2-Clause
"""The event counters: every event counted once, several per cycle, modulo their width."""

from collections import Counter

from simulation import simulate
from streams import seeded

from hdl.event_counters import EventCounters
from models.counters import COUNTERS, FAULT_BITS
from models.shell import MAX_FIFOS


def test_events_are_counted_two_cycles_later():
    dut = EventCounters()
    rng = seeded()
    total = Counter()
    shown = [Counter(), Counter()]

    async def bench(ctx):
        for _ in range(300):
            for counter in COUNTERS:
                events = rng.choice([0, 0, 1, rng.randint(0, MAX_FIFOS)])
                ctx.set(getattr(dut, counter.name), events)
                total[counter.name] += events
                assert ctx.get(getattr(dut, counter.port)) == shown[0][counter.name], counter.name
            shown.append(total.copy())
            del shown[0]
            await ctx.tick()

    simulate(dut, bench)


def test_counters_wrap():
    dut = EventCounters()
    narrow = [counter for counter in COUNTERS if counter.bits == FAULT_BITS]

    async def bench(ctx):
        for counter in COUNTERS:
            ctx.set(getattr(dut, counter.name), MAX_FIFOS)
        cycles = (1 << FAULT_BITS) // MAX_FIFOS
        await ctx.tick().repeat(cycles + 1)
        for counter in COUNTERS:
            wrapped = 0 if counter in narrow else 1 << FAULT_BITS
            assert ctx.get(getattr(dut, counter.port)) == wrapped, counter.name

    simulate(dut, bench)
    assert narrow
