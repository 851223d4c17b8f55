# SPDX-License-Identifier: BSD-2-Clause
"""Runs ``memory_tests.py`` on both slices, on each installed simulator."""

from __future__ import annotations

from pathlib import Path

import pytest
from slice_runner import SIMULATORS_AND_WIDTHS, run_slice


@pytest.mark.parametrize(("simulator", "width"), SIMULATORS_AND_WIDTHS)
@pytest.mark.parametrize("toplevel", ["slice", "core_slice"])
def test_host_memory_on_a_slice(toplevel: str, simulator: str, width: int, tmp_path: Path):
    run_slice(toplevel, "memory_tests", simulator, width, tmp_path, at_least=10)
