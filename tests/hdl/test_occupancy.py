# SPDX-License-Identifier: BSD-2-Clause
"""Occupancy: the items of each queue, from events that coincide."""

import pytest
from index_host import QUEUES, queue_geometry, queue_id
from streams import Bench

from hdl.queues.occupancy import Occupancy


class Queues:
    """Indices and limits of the queues, and the expected outputs of this cycle.

    Attributes
    ----------
    index, limit : list
        By FIFO; the limit is that of the last ``count``.
    counted : list
        Whether a ``count`` followed the last ``forget``.
    has_one, has_two : int
        A bit for each FIFO.
    """

    def __init__(self, fifos, capacity, spare):
        self._capacity, self._spare = capacity, spare
        self.index, self.limit = [0] * fifos, [0] * fifos
        self.counted = [False] * fifos
        self.update()

    def _items(self, fifo):
        items = (self.limit[fifo] - self.index[fifo] - self._spare) % self._capacity
        return items if self.counted[fifo] else 0

    def update(self):
        """The next cycle has begun."""
        items = [self._items(fifo) for fifo in range(len(self.index))]
        self.has_one = sum((count >= 1) << fifo for fifo, count in enumerate(items))
        self.has_two = sum((count >= 2) << fifo for fifo, count in enumerate(items))


@pytest.mark.parametrize("spare", [0, 1])
@pytest.mark.parametrize("fifos, layout", QUEUES, ids=queue_id)
def test_items_follow_every_event(fifos, layout, spare):
    g = queue_geometry(fifos, layout)
    capacity = layout.queue.capacity
    dut = Occupancy(g, cleared_items=spare * (capacity - 1))
    bench = Bench(dut, fifos, layout.name, spare, period=80)
    rng = bench.rng
    queues = Queues(fifos, capacity, spare)
    coincided = set()

    def near(index):
        return (index + rng.choice([0, 1, 1, 2, 2, 3, rng.randrange(capacity)])) % capacity

    def stored(limit):
        """The SlotLimit of a head, or of a tail before which a slot stays empty."""
        index = (limit - spare) % capacity
        return {"index": index, "before": (index - 1) % capacity}

    async def run(ctx):
        clearing = settling = False
        while True:
            assert ctx.get(dut.has_one) == queues.has_one
            assert ctx.get(dut.has_two) == queues.has_two
            # In the cycle after `clear`, no event comes: no index has moved yet.
            settling, clearing = clearing, rng.random() < (0.7 if clearing else 0.01)
            settling &= not clearing
            counts = not settling and not bench.idles() and rng.random() < 0.7
            forgets = not settling and not bench.idles() and rng.random() < 0.1
            count_fifo = rng.randrange(fifos)
            forget_fifo = rng.choice([count_fifo, rng.randrange(fifos)])
            fifo = rng.choice([count_fifo, rng.randrange(fifos)])
            # An engine takes an item only where there is one, and none in a queue that starts over.
            advances = bool(queues.has_one >> fifo & 1) and not bench.stalls()
            advances &= not (forgets and fifo == forget_fifo) and not (settling or clearing)
            after = (queues.index[fifo] + 1) % capacity
            index, limit = queues.index[count_fifo], near(queues.index[count_fifo])
            for name, value in (
                ("clear", clearing),
                ("count", counts),
                ("count_fifo", count_fifo),
                ("count_slot", {"index": index, "place": 0, "next": (index + 1) % capacity}),
                ("count_limit", stored(limit)),
                ("forget", forgets),
                ("forget_fifo", forget_fifo),
                ("advance", advances),
                ("advance_fifo", fifo),
                ("advance_index", after if advances else rng.randrange(capacity)),
                (
                    "advance_limit",
                    stored(queues.limit[fifo] if advances else rng.randrange(capacity)),
                ),
            ):
                ctx.set(getattr(dut, name), value)
            coincided.add((counts and count_fifo == fifo, advances))

            if counts:
                queues.limit[count_fifo], queues.counted[count_fifo] = limit, True
            if forgets:
                # The queue starts over at another index.
                queues.counted[forget_fifo] = False
                queues.index[forget_fifo] = rng.randrange(capacity)
            if advances:
                queues.index[fifo] = after
            if clearing or settling:
                queues.index, queues.limit = [0] * fifos, [0] * fifos
                queues.counted = [settling] * fifos
            queues.update()
            await ctx.tick()

    bench.process(run)
    bench.run()
    assert len(coincided) == 4
