# SPDX-License-Identifier: BSD-2-Clause
"""Placement of the block RAMs of an ECP5 netlist in an LFE5U-85F."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from .output_registers import BLOCK_RAM, has_output_register

__all__ = ["COLUMNS", "place_block_rams"]

COLUMNS = tuple(
    (x + column, number)
    for x in (*range(4, 64, 9), *range(69, 121, 9))
    for number, column in enumerate((0, 2, 4, 6))
)
"""X and number of each block RAM in a row, from left to right."""

FEW = len(COLUMNS) // 2
"""So many block RAMs share two rows."""

FEW_ROWS = (70, 82)
EARLY_ROWS = (46, 70, 82)
LATE_ROWS = (22,)
"""Y of the rows of many block RAMs: of those with an output register, and of the others."""


def place_block_rams(module: Mapping[str, Any], lanes: int) -> None:
    """Fix the placement of the block RAMs of a netlist: side by side, in few rows.

    Rows of block RAMs are far apart. nextpnr scatters the block RAMs over several rows, or along
    one at the edge. A row holds the bits of the same place in each lane side by side, because lanes
    are rotated when read data is aligned; the block RAMs of the DMA window come last. Many block
    RAMs are divided: those without an output register, which are read by the pop engine, have a
    row of their own near its logic. More than there are places are left to nextpnr.

    Parameters
    ----------
    module
        Module of a Yosys JSON netlist, which is changed in place.
    lanes
        Dwords in a word.
    """
    cells = module["cells"]
    names = [name for name, cell in cells.items() if cell["type"] == BLOCK_RAM]
    groups: dict[tuple[int, ...], list[str]] = {FEW_ROWS: names}
    if len(names) > FEW:
        groups = {
            EARLY_ROWS: [name for name in names if has_output_register(cells[name])],
            LATE_ROWS: [name for name in names if not has_output_register(cells[name])],
        }
    if any(len(group) > len(rows) * len(COLUMNS) for rows, group in groups.items()):
        return
    parts = Counter(_memory(name) for name in names)
    for rows, group in groups.items():
        group.sort(key=lambda name: _placement_key(name, parts[_memory(name)] // lanes))
        unused = len(COLUMNS) - -(-len(group) // len(rows))
        sites = [f"X{x}/Y{y}/EBR{number}" for x, number in COLUMNS[unused // 2 :] for y in rows]
        for name, site in zip(group, sites, strict=False):
            cells[name].setdefault("attributes", {})["BEL"] = site


def _memory(name: str) -> str:
    return name.rpartition(".")[0]


def _placement_key(name: str, parts_per_lane: int) -> tuple[bool, int, int, str]:
    """Sort key: DMA window last; then the place in the lane, and the lane."""
    *path, suffix = name.split(".")
    part = int(suffix) if suffix.isdecimal() else 0
    return "window" in path, part % max(parts_per_lane, 1), part, name
