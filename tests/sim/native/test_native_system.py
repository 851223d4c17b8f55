# SPDX-License-Identifier: BSD-2-Clause
"""The scenarios on the compiled gateware exchange the messages of the pure model."""

import pytest
from scenarios import SCENARIOS, Traces, devices, programs, pure_traces

from models import virtual_time
from models.layout import SMALL_PAGES, SPSC_PAGES
from models.shell import AMP_PCI, AMP_PCI_9038
from sim.build import BuildConfiguration
from sim.native.system import NativeSystem

BUILDS = {
    "v1": ("v1", 1, 128, AMP_PCI, SPSC_PAGES),
    "r1, other shell and layout": ("r1", 2, 256, AMP_PCI_9038, SMALL_PAGES),
}


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("name", SCENARIOS)
def test_messages_match_the_pure_model(build, name):
    revision, num_fifos, data_width, shell, layout = BUILDS[build]
    configuration = BuildConfiguration(
        num_fifos=num_fifos, data_width=data_width, shell=shell.name, layout=layout.name
    )

    async def run(system):
        await system.start()
        traces = Traces(system)
        await system.runtime.gather(programs(name, system))
        assert not any(driver.unclaimed for driver in system.drivers)
        await system.finish()
        return traces.messages

    with NativeSystem(devices(num_fifos), configuration, revision=revision) as system:
        messages = system.run(run(system))
    choices = {"revision": revision, "shell": shell, "layout": layout}
    assert messages == virtual_time.run(pure_traces(name, num_fifos, **choices))
