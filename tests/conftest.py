# SPDX-License-Identifier: BSD-2-Clause
"""Options of the test run, and the printed seed that all random tests share."""

import os

import pytest
from parts import part, split

from sim.run import new_seed


def pytest_addoption(parser):
    parser.addoption(
        "--regress",
        action="store_true",
        help="run the long matrices too: every width, number of FIFOs and simulator",
    )
    parser.addoption(
        "--part",
        type=part,
        default=(1, 1),
        metavar="N/PARTS",
        help="run every PARTS-th test, starting with the N-th",
    )
    parser.addoption(
        "--seed",
        type=lambda text: int(text, 0),
        default=None,
        help="seed of the cocotb regressions; also the environment variable SEED",
    )


def pytest_configure(config):
    # Workers inherit the environment, so that all use the same seed.
    if config.getoption("--seed") is not None:
        os.environ["SEED"] = str(config.getoption("--seed"))
    os.environ.setdefault("SEED", str(new_seed()))


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--regress"):
        for item in items:
            if (mark := item.get_closest_marker("regress")) is not None:
                reason = f"{mark.kwargs['reason']}: only make regress runs it"
                item.add_marker(pytest.mark.skip(reason=reason))
    items[:], others = split(items, *config.getoption("--part"))
    config.hook.pytest_deselected(items=others)


def pytest_terminal_summary(terminalreporter):
    # In the summary: a quiet run omits the header.
    seed = os.environ["SEED"]
    terminalreporter.write_line(f"seed of the cocotb regressions: {seed} (repeat: SEED={seed})")


@pytest.fixture(scope="session")
def regression_seed():
    """The seed of this run."""
    return int(os.environ["SEED"], 0)
