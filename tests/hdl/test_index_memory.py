# SPDX-License-Identifier: BSD-2-Clause
"""The memories of indices: a value for each FIFO, and who moved an owned index last."""

import pytest
from index_host import QUEUES, queue_geometry, queue_id, read_slot, slot_at
from streams import Bench

from hdl.queues.index_memory import FifoValues, OwnedIndices

SHAPE = 7


@pytest.mark.parametrize("fifos", [1, 2, 3, 8])
@pytest.mark.parametrize("reads", [1, 2, 3])
def test_values_are_read_before_the_write_of_the_cycle(fifos, reads):
    dut = FifoValues(fifos, SHAPE, reads=reads)
    bench = Bench(dut, fifos, reads)
    rng = bench.rng
    # With a number of FIFOs that is no power of two, a write of another one changes none.
    numbers = 1 << (fifos - 1).bit_length()
    values = {}

    async def run(ctx):
        while True:
            writes = not bench.idles()
            fifo, value = rng.randrange(numbers), rng.getrandbits(SHAPE)
            ctx.set(dut.enable, writes)
            ctx.set(dut.fifo, fifo)
            ctx.set(dut.value, value)
            for port in range(reads):
                # Most reads are of the FIFO that is written.
                read = rng.choice([fifo, fifo, rng.randrange(fifos)])
                ctx.set(dut.read_fifo[port], read)
                if read in values:
                    assert ctx.get(dut.read_value[port]) == values[read]
            if writes and fifo < fifos:
                values[fifo] = value
            await ctx.tick()

    bench.process(run)
    bench.run()
    assert len(values) == fifos


@pytest.mark.parametrize("fifos, layout", QUEUES, ids=queue_id)
def test_host_and_engine_move_owned_indices(fifos, layout):
    g = queue_geometry(fifos, layout)
    reads = 2
    dut = OwnedIndices(g, reads=reads)
    bench = Bench(dut, fifos, layout.name)
    rng = bench.rng
    indices = {}
    # What the host reads: None once it has written the index, then the index of an engine.
    views = {}
    moved = {}
    seen = set()

    async def run(ctx):
        nonlocal moved
        while True:
            rewrites = not bench.idles() and rng.random() < 0.5
            advances = not bench.stalls() and not rewrites
            written = {}
            for name, enabled in (("rewrite", rewrites), ("advance", advances)):
                fifo, index = rng.randrange(fifos), rng.randrange(layout.queue.capacity)
                ctx.set(getattr(dut, name), enabled)
                ctx.set(getattr(dut, f"{name}_fifo"), fifo)
                ctx.set(getattr(dut, f"{name}_index"), index)
                if enabled:
                    written = {fifo: index}
            if rewrites:
                views.update(dict.fromkeys(written))
            for port in range(reads):
                fifo = rng.randrange(fifos)
                ctx.set(dut.read_fifo[port], fifo)
                if fifo in indices:
                    assert read_slot(ctx, dut.read_slot[port]) == slot_at(g, indices[fifo])
            fifo = rng.choice([*written, *range(fifos)])
            view = rng.choice(list(dut.views))
            ctx.set(view.fifo, fifo)
            if fifo in views:
                found = ctx.get(view.index) if ctx.get(view.moved) else None
                assert found == views[fifo]
                seen.add(found is None)
            indices.update(written)
            # The host reads a move one cycle later than the engine.
            if moved.keys() != (written.keys() if rewrites else None):
                views.update(moved)
            moved = written if advances else {}
            await ctx.tick()

    bench.process(run)
    bench.run()
    assert len(indices) == len(views) == fifos
    assert seen == {False, True}
