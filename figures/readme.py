# SPDX-License-Identifier: BSD-2-Clause
"""The README's figures, made of docs/figures.md."""

from __future__ import annotations

from pathlib import Path

from hdl.verilog import TOPS
from sim.lab.bench.bounds import FIGURES
from synth.designs import DESIGNS, SPEED_GRADES, Design, limits_of

from . import document, tables
from .document import SynthesisPoint

__all__ = ["README", "ReadmeError", "summary", "with_summary"]

README = Path("README.md")

BEGIN, END = "<!-- figures: made by make figures -->\n", "<!-- figures: end -->\n"

WIDTH = 128


class ReadmeError(ValueError):
    """The README has no place for the figures."""


def summary(text: str) -> str:
    """Two tables: cycles at 128 bits, and the designs that have to reach something.

    Parameters
    ----------
    text
        That of :data:`~figures.document.DOCUMENT`.
    """
    columns = {top: document.cycles(text, top)[str(WIDTH)] for top in TOPS}
    cycles = tables.write(
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
    areas = document.areas(text)
    rows = []
    for design in DESIGNS:
        limits = limits_of(design, SPEED_GRADES[0])
        if not limits:
            continue
        slow, fast = (areas[_on_ecp5(design, grade)] for grade in SPEED_GRADES)
        rows.append(
            (
                design.top,
                design.data_width,
                "yes" if design.dma else "no",
                f"{slow.lut4:,}",
                f"{slow.ff:,}",
                slow.bram,
                f"{slow.fmax_mhz:g}",
                f"{fast.fmax_mhz:g}",
                "; ".join(map(str, limits)),
            )
        )
    names = ("LFE5U-85F, one FIFO", "bits", "DMA", "LUT4", "FF", "block RAM")
    grades = (f"MHz, speed {grade}" for grade in SPEED_GRADES)
    return cycles + "\n" + tables.write((*names, *grades, "must reach"), rows)


def _on_ecp5(design: Design, speed_grade: int) -> SynthesisPoint:
    return document.configuration_of(
        {**design.__dict__, "target": "ecp5", "speed_grade": speed_grade}
    )


def with_summary(readme: str, text: str) -> str:
    """``readme`` with the figures of ``text`` in their place.

    Raises
    ------
    ReadmeError
        It has no such place.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ReadmeError(f"there is no {BEGIN.strip()} … {END.strip()} in the README")
    return f"{before}{begin}{summary(text)}{end}{after}"
