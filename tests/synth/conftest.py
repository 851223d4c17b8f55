# SPDX-License-Identifier: BSD-2-Clause
"""The tools of the synthesis, which `make synth` installs."""

import shutil

import pytest

from sim.toolchain import add_own_programs
from synth import tools


@pytest.fixture
def installed_tools():
    """Puts Yosys and nextpnr on the path; skips the test if one of them is missing."""
    add_own_programs()
    missing = [program for program in tools.PACKAGES if not shutil.which(program)]
    if missing:
        pytest.skip(f"no {', no '.join(missing)}: make synth installs it")
