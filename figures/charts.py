# SPDX-License-Identifier: BSD-2-Clause
"""Charts of area and frequency over the number of FIFOs, in Mermaid, which GitHub renders."""

from __future__ import annotations

from collections.abc import Sequence

from synth.designs import FIFO_CURVE, SPEED_GRADES

from .baseline import Baseline, SynthesisPoint, synthesis

__all__ = ["charts"]


def charts(baseline: Baseline) -> str:
    """Two charts of the designs of :data:`~synth.designs.FIFO_CURVE`: LUT4, and MHz."""
    areas = synthesis(baseline)
    slow, fast = SPEED_GRADES
    on_slow, on_fast = (
        [areas[SynthesisPoint.of(design, "ecp5", grade)] for design in FIFO_CURVE]
        for grade in SPEED_GRADES
    )
    design = FIFO_CURVE[0]
    name = f"{design.top}, {design.data_width} bits, no DMA"
    return (
        _chart(f"{name}: LUT4 over FIFOs", "LUT4", "bar", [[area.lut4 for area in on_slow]])
        + "\n"
        + _chart(
            f"{name}: MHz over FIFOs, speed grades {slow} (lower line) and {fast}",
            "MHz",
            "line",
            [[area.fmax_mhz or 0 for area in line] for line in (on_slow, on_fast)],
        )
    )


def _chart(title: str, unit: str, kind: str, series: Sequence[Sequence[float]]) -> str:
    """A chart over the number of FIFOs, with an axis from zero."""
    largest = max(max(values) for values in series)
    lines = [
        "```mermaid",
        "xychart-beta",
        f'    title "{title}"',
        f'    x-axis "FIFOs" [{", ".join(str(design.num_fifos) for design in FIFO_CURVE)}]',
        f'    y-axis "{unit}" 0 --> {round(largest * 1.1)}',
        *(f"    {kind} [{', '.join(f'{value:g}' for value in values)}]" for values in series),
        "```",
    ]
    return "\n".join(lines) + "\n"
