# SPDX-License-Identifier: BSD-2-Clause
"""What the latest reports have lost against docs/figures.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hdl.verilog import TOPS
from sim.lab.bench.bounds import FIGURES
from synth.designs import HEADLINES

from . import document
from .document import Reports

__all__ = ["AREA", "CYCLES", "losses"]

CYCLES = 0.05
"""Part of its cycles, or of its bytes a cycle, that a figure may lose."""

AREA = 0.10
"""Part of its area, or of its frequency, that a configuration may lose."""


def losses(reports: Reports, baseline: str) -> list[str]:
    """A line for each loss that is too large.

    Configurations that have not been synthesised are not compared, but for the headline designs,
    which must have been.

    Parameters
    ----------
    reports
        As for :func:`~figures.document.render`.
    baseline
        The document's text.
    """
    return [
        *_lost_proofs(reports["formal"], baseline),
        *_lost_cycles(reports["bench"], baseline),
        *_lost_area(reports["synth"], baseline),
    ]


def _lost_proofs(report: Mapping[str, Any], baseline: str) -> Iterator[str]:
    proven = {
        entry["property"]
        for entry in report["proofs"]
        if entry["result"] == "proven" and entry["mutant_rejected"]
    }
    for name in sorted(document.proofs(baseline) - proven):
        yield f"{name} was proven, and is not"


def _lost_cycles(report: Mapping[str, Any], baseline: str) -> Iterator[str]:
    for top in TOPS:
        measured = {
            **(report if top == "endpoint" else report[top])["widths"],
            "every": report["every_fifo"][top],
        }
        for column, before in document.cycles(baseline, top).items():
            for figure in FIGURES:
                if figure.key not in before:
                    continue
                was, now = before[figure.key], measured[column][figure.key]["value"]
                loss = (was - now if figure.more_is_better else now - was) / was
                if loss > CYCLES:
                    yield f"{top}, {column}: {figure.key} was {was:g}, is {now:g}"


def _lost_area(report: Mapping[str, Any], baseline: str) -> Iterator[str]:
    before = document.areas(baseline)
    measured = {
        document.configuration_of(entry): document.area_of(entry)
        for entry in report["configurations"]
    }
    for design in HEADLINES:
        if not any(
            (each.top, each.data_width, each.num_fifos, each.dma)
            == (design.top, design.data_width, design.num_fifos, design.dma)
            for each in measured
        ):
            yield f"{design.name} has not been synthesised"
    for configuration, now in measured.items():
        was = before.get(configuration)
        if was is None:
            yield f"{configuration} is not in the baseline: make figures"
            continue
        for name in ("lut4", "ff", "bram"):
            larger, smaller = getattr(now, name), getattr(was, name)
            if larger > smaller * (1 + AREA):
                yield f"{configuration}: {name} was {smaller}, is {larger}"
        if now.fmax_mhz < was.fmax_mhz * (1 - AREA):
            yield f"{configuration}: fmax_mhz was {was.fmax_mhz:g}, is {now.fmax_mhz:g}"
