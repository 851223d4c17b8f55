# SPDX-License-Identifier: BSD-2-Clause
"""Runs ``gateware_tests.py`` on both tops, on each installed simulator."""

from __future__ import annotations

from pathlib import Path

import pytest
from builds import BUILDS, COMPLETION_TIMEOUT

from sim import toolchain
from sim.build import BuildConfiguration
from sim.run import simulate


@pytest.mark.parametrize("simulator", toolchain.SIMULATORS)
@pytest.mark.parametrize("top", BUILDS)
def test_hosts_on_the_gateware(top: str, simulator: str, tmp_path: Path):
    if simulator not in toolchain.available():
        pytest.skip(f"{simulator} is not on this machine")
    num_fifos, data_width = BUILDS[top]
    configuration = BuildConfiguration(
        top=top,
        num_fifos=num_fifos,
        data_width=data_width,
        completion_timeout=COMPLETION_TIMEOUT,
        simulator=simulator,
    )
    outcome = simulate(
        configuration,
        "gateware_tests",
        tmp_path,
        environment={"PYTHONPATH": f"{Path(__file__).parents[2]}:{Path(__file__).parent}"},
    )
    assert outcome.tests >= 12
