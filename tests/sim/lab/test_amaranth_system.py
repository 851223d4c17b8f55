# SPDX-License-Identifier: BSD-2-Clause
"""The scenarios on the core in Amaranth's simulator exchange the messages of the pure model."""

import asyncio

import pytest
from scenarios import SCENARIOS, Traces, devices, programs, pure_traces

from models import virtual_time
from models.layout import SMALL_PAGES, SPSC_PAGES
from models.shell import AMP_PCI, AMP_PCI_9038
from sim.lab.amaranth_system import AmaranthSystem

LONG = {("v1", "overfill")} | {
    ("r1, other shell and layout", name) for name in SCENARIOS if name != "come_and_go"
}
"""Builds with scenarios that take half a minute and more."""
BUILDS = {
    "v1": ("v1", 1, 64, AMP_PCI, SPSC_PAGES),
    "r1, other shell and layout": ("r1", 2, 256, AMP_PCI_9038, SMALL_PAGES),
}


@pytest.mark.parametrize(
    "build, name",
    [
        pytest.param(
            build,
            name,
            marks=[pytest.mark.regress(reason="takes half a minute")] * ((build, name) in LONG),
        )
        for build in BUILDS
        for name in SCENARIOS
    ],
)
def test_messages_match_the_pure_model(build, name):
    revision, num_fifos, data_width, shell, layout = BUILDS[build]
    choices = {"revision": revision, "shell": shell, "layout": layout}

    async def run():
        system = AmaranthSystem(devices(num_fifos), data_width=data_width, **choices)
        async with system:
            traces = Traces(system)
            await asyncio.gather(*programs(name, system))
        assert not any(driver.unclaimed for driver in system.drivers)
        assert traces.messages == await pure_traces(name, num_fifos, **choices)

    virtual_time.run(run())
