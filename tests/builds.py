# SPDX-License-Identifier: BSD-2-Clause
"""Build parameters that all tests share, so that they share the builds."""

import pytest

from sim import toolchain
from sim.build import BuildConfiguration

BUILDS = {"endpoint": (2, 128), "core": (3, 64)}
"""Number of FIFOs and data width of each top that ``make test`` builds with Verilator."""

COMPLETION_TIMEOUT = 8192
"""In cycles: longer than the slowest host of the tests takes, and short enough to wait for."""


def build_configuration(
    top="endpoint", *, num_fifos=None, data_width=None, simulator=None, **options
):
    """A build with the tests' completion timeout.

    Number of FIFOs and data width default to those of ``BUILDS``, the simulator to the first one
    installed.
    """
    if num_fifos is None or data_width is None:
        default_fifos, default_width = BUILDS[top]
        num_fifos = default_fifos if num_fifos is None else num_fifos
        data_width = default_width if data_width is None else data_width
    return BuildConfiguration(
        top=top,
        num_fifos=num_fifos,
        data_width=data_width,
        completion_timeout=COMPLETION_TIMEOUT,
        simulator=simulator,
        **options,
    )


def first_simulator():
    """Name of the preferred simulator of those installed, which runs most builds."""
    return next(iter(toolchain.available()), None)


def require_simulator(simulator):
    """Skip the test if ``simulator`` is not installed."""
    if simulator not in toolchain.available():
        pytest.skip(f"{simulator} is not installed")
