# SPDX-License-Identifier: BSD-2-Clause
"""Free slots of the device queues: by the indices of the cycle before, and the slot in work."""

import pytest
from simulation import simulate
from streams import geometry, seeded

from hdl.queues.free_slots import FreeSlots
from models.layout import SMALL_PAGES, SPSC_PAGES


@pytest.mark.parametrize(
    "fifos, layout",
    [(1, SPSC_PAGES), (1, SMALL_PAGES), (3, SPSC_PAGES), (8, SMALL_PAGES)],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_free_slots_of_each_queue(fifos, layout):
    dut = FreeSlots(geometry(64, fifos, layout=layout))
    rng = seeded(fifos, layout.name)
    capacity = layout.queue.capacity
    seen = set()

    async def bench(ctx):
        heads, tails = [0] * fifos, [0] * fifos
        expected = None
        for _ in range(400):
            if expected is not None:
                free, beside = ctx.get(dut.slot_free), ctx.get(dut.has_space)
                assert (free, beside) == expected
                seen.update({free & 1, 2 + (beside & 1)})
            fifo = rng.randrange(fifos)
            # A slot is filled only where one is free.
            has_slot = (tails[fifo] - heads[fifo] - 1) % capacity > 0
            filling = has_slot and rng.random() < 0.8
            advances = filling and rng.random() < 0.5
            rewritten = sum((rng.random() < 0.05) << place for place in range(fifos))
            for place in range(fifos):
                ctx.set(dut.head[place], heads[place])
                ctx.set(dut.tail[place], tails[place])
            ctx.set(dut.fifo, fifo)
            ctx.set(dut.filling, filling)
            ctx.set(dut.advances, advances)
            ctx.set(dut.rewritten, rewritten)

            slot_free = has_space = 0
            for place in range(fifos):
                free = (tails[place] - heads[place] - 1) % capacity
                selected = place == fifo
                slot_free |= (free - (advances and selected) > 0) << place
                has_space |= (free - (filling and selected) > 0) << place
            expected = (slot_free & ~rewritten, has_space)

            if advances:
                heads[fifo] = (heads[fifo] + 1) % capacity
            for place in range(fifos):
                if rewritten >> place & 1:
                    heads[place] = rng.randrange(capacity)
                if tails[place] != heads[place] and rng.random() < 0.3 / fifos:
                    tails[place] = (tails[place] + 1) % capacity
                elif rng.random() < 0.02:
                    tails[place] = (heads[place] + rng.randint(1, 3)) % capacity
            await ctx.tick()

    simulate(dut, bench)
    assert seen == {0, 1, 2, 3}
