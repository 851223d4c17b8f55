# SPDX-License-Identifier: BSD-2-Clause
"""One index word: host writes, the engine's advances, and the reset, cycle by cycle."""

import pytest
from index_model import IndexModel
from simulation import simulate
from streams import seeded

from hdl.queues.index_words import IndexWord


@pytest.mark.parametrize("owned", [True, False])
@pytest.mark.parametrize("capacity", [5, 62])
@pytest.mark.parametrize("writes, advances", [(0.05, 0.3), (0.6, 0.6)])
def test_host_write_wins(capacity, owned, writes, advances):
    dut = IndexWord(capacity, owned=owned)
    rng = seeded(capacity, owned, writes)
    model = IndexModel(capacity)

    async def bench(ctx):
        for _ in range(600):
            assert ctx.get(dut.word) == model.word
            assert ctx.get(dut.index) == model.index
            assert ctx.get(dut.updates) == model.updates
            reset = rng.random() < 0.03
            write = advance = None
            data, mask = rng.choice([rng.getrandbits(32), rng.randrange(256)]), rng.getrandbits(4)
            ctx.set(dut.write_data, data)
            ctx.set(dut.write_mask, mask)
            if rng.random() < writes:
                write = (data, mask)
            ctx.set(dut.write, write is not None)
            ctx.set(dut.remainder, model.remainder if model.updates else rng.randrange(capacity))
            if owned:
                # An engine does not advance an index that the host rewrites in this cycle.
                if not model.updates and rng.random() < advances:
                    advance = rng.randrange(capacity)
                ctx.set(dut.advance, advance is not None)
                ctx.set(dut.next_index, rng.randrange(capacity) if advance is None else advance)
            ctx.set(dut.reset, reset)
            model.step(reset=reset, write=write, advance=advance)
            await ctx.tick()

    simulate(dut, bench)
