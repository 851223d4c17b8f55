# SPDX-License-Identifier: BSD-2-Clause
"""The completion planner: size and alignment of the first completion of each request."""

import pytest
from completer_model import SIZES, Request, plan_of
from streams import Bench, geometry

from hdl.completer.planner import REQUEST_DEPTH, CompletionPlanner
from hdl.tlp import DATA_WIDTHS


@pytest.mark.parametrize("width", DATA_WIDTHS)
def test_first_completion_is_planned(width):
    g = geometry(width)
    dut = CompletionPlanner(g)
    bench = Bench(dut, width)
    sent = []
    sizes = []

    def packets():
        while True:
            request = Request(bench.rng, g.bar_sizes[g.shell.fifo_bar])
            sent.append(request)
            yield [request.fields()]

    async def change_size(ctx):
        while True:
            size = bench.rng.choice(SIZES)
            ctx.set(dut.mask, size // 4 - 1)
            ctx.set(dut.block, size // SIZES[0])
            for _ in range(bench.rng.randint(1, 5)):
                _, _, valid, ready = await ctx.tick().sample(dut.i.valid, dut.i.ready)
                if valid and ready:
                    sizes.append(size)

    bench.process(change_size)
    bench.source(dut.i, packets())
    plans = bench.sink(dut.o)
    bench.run()
    assert len(plans) == len(sent) == len(sizes) > 30
    for plan, request, size in zip(plans, sent, sizes, strict=True):
        assert plan["request"] == request.fields()
        for name, value in plan_of(request, size, g.lanes).items():
            assert plan[name] == value, f"{name} of {request.tlp} at {size} bytes"


def test_stalled_queue_fills():
    dut = CompletionPlanner(geometry(64))
    bench = Bench(dut, paces=((0, 1),))
    request = Request(bench.rng, 4096)
    accepted = []
    bench.monitor(
        lambda *both: accepted.append(bench.cycle) if all(both) else None, dut.i.valid, dut.i.ready
    )
    bench.source(dut.i, ([request.fields()] for _ in range(40)))
    plans = bench.sink(dut.o)
    bench.run()
    assert sum(cycle < 40 for cycle in accepted) == REQUEST_DEPTH
    assert len(plans) == len(accepted)
