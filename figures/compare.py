# SPDX-License-Identifier: BSD-2-Clause
"""Comparison of the latest reports with the baseline."""

from __future__ import annotations

from collections.abc import Iterator

from sim.lab.bench.bounds import FIGURES
from synth.limits import HEADLINES

from .baseline import Baseline, Report, Reports, cycles_of, proofs_of, synthesis, synthesis_of

__all__ = ["AREA", "CYCLES", "losses"]

CYCLES = 0.05
"""Largest accepted loss in cycles or bytes per cycle, as a fraction."""

AREA = 0.10
"""Largest accepted loss in area or frequency, as a fraction."""


def losses(reports: Reports, baseline: Baseline) -> list[str]:
    """One line for each loss beyond the accepted one.

    The headline designs must have been synthesised. Other designs, and frequencies, are compared if
    the report has them: its own limits demand a frequency where CI holds one.
    """
    return [
        *_lost_proofs(reports["formal"], baseline),
        *_lost_cycles(reports["bench"], baseline),
        *_lost_area(reports["synth"], baseline),
    ]


def _lost_proofs(report: Report, baseline: Baseline) -> Iterator[str]:
    proven = proofs_of(report)
    for name in sorted(set(baseline["proofs"]) - set(proven)):
        yield f"{name} is no longer proven"


def _lost_cycles(report: Report, baseline: Baseline) -> Iterator[str]:
    measured = cycles_of(report)
    for top, columns in baseline["cycles"].items():
        for column, recorded in columns.items():
            for figure in FIGURES:
                if figure.key not in recorded:
                    continue
                before, after = recorded[figure.key], measured[top][column][figure.key]
                loss = (before - after if figure.more_is_better else after - before) / before
                if loss > CYCLES:
                    yield f"{top}, {column}: {figure.key} was {before:g}, is {after:g}"


def _lost_area(report: Report, baseline: Baseline) -> Iterator[str]:
    recorded = synthesis(baseline)
    measured = synthesis_of(report)
    synthesised = {point.design for point in measured}
    for design in HEADLINES:
        if design not in synthesised:
            yield f"{design.name} has not been synthesised"
    for point, after in measured.items():
        before = recorded.get(point)
        if before is None:
            yield f"{point} is not in the baseline: make figures"
            continue
        for name in ("lut4", "ff", "bram"):
            if getattr(after, name) > getattr(before, name) * (1 + AREA):
                yield f"{point}: {name} was {getattr(before, name)}, is {getattr(after, name)}"
        if before.fmax_mhz is None or after.fmax_mhz is None:
            continue
        if after.fmax_mhz < before.fmax_mhz * (1 - AREA):
            yield f"{point}: fmax_mhz was {before.fmax_mhz:g}, is {after.fmax_mhz:g}"
