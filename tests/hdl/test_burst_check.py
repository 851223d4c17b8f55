# SPDX-License-Identifier: BSD-2-Clause
"""The check of AXI bursts: which are served, and where they end."""

import pytest
from burst_model import PAGE, random_burst
from simulation import simulate
from streams import drive, seeded

from hdl.dma.axi import BurstCheck
from hdl.tlp import DATA_WIDTHS


@pytest.mark.parametrize("width", DATA_WIDTHS)
@pytest.mark.parametrize("served", [True, False])
def test_served_bursts_and_their_last_byte(width, served):
    dut = BurstCheck(width)
    rng = seeded("axi", width, served)

    async def bench(ctx):
        for _ in range(400):
            burst = random_burst(rng, width // 8, served=served)
            drive(ctx, dut.burst, burst.payload, rng)
            await ctx.delay(1e-9)
            assert ctx.get(dut.served) == served, burst
            if served:
                assert ctx.get(dut.last_addr) == burst.last_byte % PAGE, burst

    simulate(dut, bench)
