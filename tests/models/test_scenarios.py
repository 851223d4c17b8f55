# SPDX-License-Identifier: BSD-2-Clause
"""Every scenario on the pure model, with all combinations of revision, layout and shell."""

import pytest
from scenarios import SCENARIOS, pure_traces

from models.layout import LAYOUTS
from models.messages import REVISIONS
from models.shell import SHELLS


@pytest.mark.parametrize("shell", SHELLS.values(), ids=lambda shell: shell.name)
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=lambda layout: layout.name)
@pytest.mark.parametrize("revision", REVISIONS)
@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_scenario(scenario, revision, layout, shell):
    num_fifos = 3
    messages = await pure_traces(scenario, num_fifos, revision, layout=layout, shell=shell)
    assert len(messages) == 2 * num_fifos
    assert all(len(crossed) > 2 for crossed in messages.values())
