# SPDX-License-Identifier: BSD-2-Clause
"""Random and damaged messages to each side cause named errors only and no hang.

Both sides work afterwards. Twenty thousand messages by default, a million with ``--regress``.
"""

import pytest
from message_fuzz import BATCH, BATCHES, run

from models.messages import REVISIONS

SHORT, LONG = 10 * BATCH, 500 * BATCH
"""Number of messages per side and revision."""
PARTS = 4
"""Number of tests of the long run, to use as many processes."""

SEEN = {
    "driver": {
        "SET_DEVICE_STATUS",
        "GET_CONFIG",
        "EVENT_USED",
        "EVENT_CONFIG",
        "dropped",
    },
    "device": {"worked", "RequestTimeoutError"},
}
"""Messages and results that occur in every run."""


def pytest_generate_tests(metafunc):
    long = metafunc.config.getoption("--regress")
    messages, parts = (LONG, PARTS) if long else (SHORT, 1)
    metafunc.parametrize("messages, part", [(messages // parts, part) for part in range(parts)])


@pytest.mark.parametrize("revision", REVISIONS)
@pytest.mark.parametrize("side", BATCHES)
def test_messages(side, revision, messages, part, regression_seed):
    tally = run(side, revision, f"{regression_seed}/{part}", messages)
    print(dict(tally))
    assert tally["received"] >= messages // 4
    missing = SEEN[side] - tally.keys()
    assert not missing, f"never came: {missing}"
