# SPDX-License-Identifier: BSD-2-Clause
"""The figures that have limits, each beside its limit, rendered from the baseline."""

from __future__ import annotations

from hdl.verilog import TOPS
from sim.lab.bench.bounds import FIGURES
from synth.designs import DESIGNS, SPEED_GRADES
from synth.limits import limits_of

from .baseline import Baseline, SynthesisPoint, synthesis
from .tables import table

__all__ = ["summary"]

WIDTH = 128


def summary(baseline: Baseline) -> str:
    """Two tables: cycles at 128 bits, and area and frequency of the designs that have limits."""
    columns = {top: baseline["cycles"][top][str(WIDTH)] for top in TOPS}
    cycles = table(
        (f"{WIDTH} bits, one FIFO", *TOPS, "bound", "must reach"),
        (
            (
                figure.key,
                *(f"{columns[top][figure.key]:.4g}" for top in TOPS),
                f"{figure.bound(WIDTH):g}",
                f"{'≥' if figure.more_is_better else '≤'} {figure.limit(WIDTH):g}",
            )
            for figure in FIGURES
        ),
    )
    areas = synthesis(baseline)
    rows = []
    for design in DESIGNS:
        limits = limits_of(design)
        if not limits:
            continue
        slow, fast = (areas[SynthesisPoint.of(design, "ecp5", grade)] for grade in SPEED_GRADES)
        rows.append(
            (
                design.top,
                design.data_width,
                design.num_fifos,
                "yes" if design.dma else "no",
                design.layout,
                f"{slow.lut4:,}",
                f"{slow.ff:,}",
                slow.bram,
                f"{slow.fmax_mhz:g}",
                f"{fast.fmax_mhz:g}",
                "; ".join(map(str, limits)),
            )
        )
    names = ("LFE5U-85F", "bits", "FIFOs", "DMA", "layout", "LUT4", "FF", "block RAM")
    grades = (f"MHz, speed {grade}" for grade in SPEED_GRADES)
    return cycles + "\n" + table((*names, *grades, "must reach"), rows)
