# SPDX-License-Identifier: BSD-2-Clause
"""Fixtures that run a test of the transport with each revision."""

import pytest
from transport_support import DIALECTS, Exchange, devices


@pytest.fixture(params=DIALECTS.values(), ids=DIALECTS)
def dialect(request):
    """Revision of the bus."""
    return request.param


@pytest.fixture
def exchange(dialect):
    """Transport with three devices and gaps between their numbers."""
    return Exchange(devices(), dialect)
