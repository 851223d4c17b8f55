# SPDX-License-Identifier: BSD-2-Clause
"""The tags of memory reads: allocated in circular order, returned in order, free once retired."""

from collections import Counter
from dataclasses import dataclass

import pytest
from simulation import simulate
from streams import drive, seeded

from hdl.dma.limits import TAGS
from hdl.dma.read_tags import ReadTags

CYCLES = 700


@dataclass
class Read:
    """A tag in use: its context, and the cycle in which each event happened to it."""

    tag: int
    context: int
    allocated: int
    unsent: bool
    sent: int | None = None
    done: int | None = None
    failed: int | None = None
    taken: int | None = None


@pytest.mark.parametrize("resets", [0, 0.01])
@pytest.mark.parametrize("allocates, answers", [(0.9, 0.2), (0.4, 0.4), (0.2, 0.9)])
def test_tags_pass_through_the_ring(allocates, answers, resets):
    dut = ReadTags()
    rng = seeded(allocates, resets)
    seen = Counter()

    def apply_reset(reads, now):
        for read in reads:
            read.done = now if read.done is None else read.done
            read.failed = now if read.failed is None else read.failed

    async def bench(ctx):
        # Tags that are allocated and not retired, from the oldest on.
        reads = []
        newest = 0
        last_take = last_reset = -3
        for now in range(CYCLES):
            waiting = [read for read in reads if read.taken is None]
            oldest = waiting[0] if waiting else None
            assert ctx.get(dut.new_tag) == newest
            assert ctx.get(dut.free) == (len(reads) < TAGS)
            outstanding = ctx.get(dut.outstanding)
            for read in reads:
                is_sent = read.sent is not None and read.sent < now
                answered = read.done is not None and read.done < now
                if is_sent and not answered and read.taken is None:
                    assert outstanding >> read.tag & 1
                if read.sent is None or answered:
                    assert not outstanding >> read.tag & 1
            if oldest is not None and now - last_take > 1:
                assert ctx.get(dut.old_tag) == oldest.tag
                done, failed = ctx.get(dut.done), ctx.get(dut.failed)
                if oldest.allocated < now - 1:
                    assert ctx.get(dut.old_context.offset) == oldest.context
                # Registered: the state of the cycle before.
                is_done = oldest.done is not None and oldest.done < now - 1
                is_failed = oldest.failed is not None and oldest.failed < now - 1
                if oldest.allocated < now - 3:
                    assert done == is_done
                    assert not done or failed == is_failed or now - last_reset < 3
                elif done:
                    assert oldest.done is not None
            else:
                done = False

            reset = rng.random() < resets
            ctx.set(dut.reset, reset)
            allocate = len(reads) < TAGS and rng.random() < allocates
            # During a reset no read is sent.
            unsent = reset or rng.random() < 0.1
            context = rng.randrange(512)
            ctx.set(dut.allocate, allocate)
            ctx.set(dut.unsent, unsent)
            drive(ctx, dut.new_context, {"offset": context}, rng)
            # A read departs a few cycles after its allocation; reads depart in order.
            unsent_reads = [read for read in waiting if read.sent is None and read.done is None]
            departing = unsent_reads[0] if unsent_reads else None
            sends = departing is not None and departing.allocated < now - 1 and not reset
            sends = sends and rng.random() < 0.5
            ctx.set(dut.sent, sends)
            ctx.set(dut.sent_tag, departing.tag if departing else rng.randrange(TAGS))
            # A completion of any outstanding read.
            open_reads = [
                read
                for read in waiting
                if read.sent is not None and read.sent < now and read.done is None
            ]
            answered = rng.choice(open_reads) if open_reads and rng.random() < answers else None
            fails = answered is not None and rng.random() < 0.3
            # A poisoned completion fails its read, which stays outstanding.
            ends = answered is not None and (not fails or rng.random() < 0.5)
            ctx.set(dut.outcome.ended, ends)
            ctx.set(dut.outcome.failed, fails)
            ctx.set(dut.outcome.tag, answered.tag if answered else rng.randrange(TAGS))
            # The oldest read times out now and then.
            expired = oldest in open_reads and answered is not oldest and rng.random() < 0.02
            takes = oldest is not None and now - last_take > 2 and (done or expired)
            ctx.set(dut.take, takes)
            retires = bool(reads) and reads[0].taken is not None and rng.random() < 0.5
            ctx.set(dut.retire, retires)
            await ctx.tick()
            seen.update({"full": len(reads) == TAGS, "expired": takes and not done})

            if retires:
                reads.pop(0)
            if sends:
                departing.sent = now
            if answered is not None:
                answered.failed = now if fails and answered.failed is None else answered.failed
                answered.done = now if ends else answered.done
            if takes:
                oldest.taken = last_take = now
                # One that timed out is outstanding for one more cycle.
                oldest.done = now + 1 if oldest.done is None else oldest.done
            if allocate:
                read = Read(newest, context, now, unsent)
                if unsent:
                    read.done = read.failed = now + 1
                reads.append(read)
                newest = (newest + 1) % TAGS
            if reset:
                last_reset = now
                apply_reset(reads, now)

    simulate(dut, bench)
    assert allocates < 0.9 or seen["full"]
