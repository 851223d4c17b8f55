# SPDX-License-Identifier: BSD-2-Clause
"""Runs ``axi_tests.py`` on a slice of wires, on each installed simulator."""

from __future__ import annotations

from pathlib import Path

import pytest
from slice_runner import SIMULATORS_AND_WIDTHS, run_slice


@pytest.mark.parametrize(("simulator", "width"), SIMULATORS_AND_WIDTHS)
def test_dma_on_an_axi_slice(simulator: str, width: int, tmp_path: Path):
    run_slice("axi_slice", "axi_tests", simulator, width, tmp_path, at_least=20)
