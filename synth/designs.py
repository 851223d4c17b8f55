# SPDX-License-Identifier: BSD-2-Clause
"""What is synthesised, for what, and what it has to reach."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from hdl.verilog import MODULE_NAMES, SHIMS, TOPS, default_data_width
from models.shell import MAX_FIFOS

__all__ = ["DESIGNS", "FAMILIES", "HEADLINES", "SPEED_GRADES", "Design", "Limit", "limits_of"]

WIDTHS = (64, 128)
FIFOS = (1, MAX_FIFOS)
SPEED_GRADES = (6, 8)
"""Of the ECP5, the slowest and the fastest."""

FAMILIES = ("ecp5", "xcup", "xc7")
"""Where a design is mapped to. There is an open placement for the first, to tell a frequency."""

SHIM_FAMILIES = dict.fromkeys(SHIMS, ("xcup",)) | {"xilinx-7": ("xc7",)}
"""Where the tops of hard blocks are mapped to, to compare them with the core there. Yosys knows no
family that has one of Intel's blocks, nor UltraScale apart from UltraScale+."""

HEADLINE_SEEDS = (1, 2, 3)
"""Seeds of the placement; the median of what they make counts for the headline designs."""


@dataclass(frozen=True, kw_only=True)
class Design:
    """A configuration of the gateware.

    Attributes
    ----------
    top
        Any that ``python -m hdl`` knows.
    data_width
        Bits.
    num_fifos
        FIFOs.
    dma
        Whether there is a DMA window.
    """

    top: str
    data_width: int
    num_fifos: int
    dma: bool

    @property
    def name(self) -> str:
        """Short and unique, also for files."""
        return f"{self.top}-w{self.data_width}-f{self.num_fifos}-{'dma' if self.dma else 'nodma'}"

    @property
    def module(self) -> str:
        """Name of the Verilog module."""
        return MODULE_NAMES[self.top]

    @property
    def families(self) -> tuple[str, ...]:
        """Of FPGAs, to map it to."""
        return SHIM_FAMILIES.get(self.top, FAMILIES)

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the placement to take the median of."""
        return HEADLINE_SEEDS if self in HEADLINES else HEADLINE_SEEDS[:1]

    @property
    def timing_weight(self) -> int:
        """What a net of a critical path counts in placement, beside one that is not.

        Block RAMs of several FIFOs are in several rows. Cells that crowd between them, as they do
        at the greater weight, take up to twelve minutes to route, and are no faster.
        """
        return 200 if self.num_fifos == 1 else 20


DESIGNS = tuple(
    Design(top=top, data_width=width, num_fifos=fifos, dma=dma)
    for top, width, fifos, dma in itertools.product(TOPS, WIDTHS, FIFOS, (True, False))
) + tuple(
    Design(top=top, data_width=default_data_width(top), num_fifos=1, dma=True) for top in SHIMS
)

HEADLINES = tuple(Design(top=top, data_width=128, num_fifos=1, dma=True) for top in TOPS)
"""The two whose figures are quoted."""


@dataclass(frozen=True, kw_only=True)
class Limit:
    """What a figure of a design has to reach.

    Attributes
    ----------
    key
        Of the figure in the report.
    value
        The limit.
    least
        Whether the figure may not be smaller; else it may not be larger.
    """

    key: str
    value: float
    least: bool

    def met(self, value: float) -> bool:
        """Whether a figure reaches it."""
        return value >= self.value if self.least else value <= self.value

    def __str__(self) -> str:
        return f"{self.key} {'at least' if self.least else 'at most'} {self.value:g}"


def limits_of(design: Design, speed_grade: int) -> tuple[Limit, ...]:
    """What the design has to reach on an ECP5 of this speed grade."""
    limits: list[Limit] = []
    if design.top not in TOPS:
        return ()
    if design.data_width == 128 and design.num_fifos == 1 and speed_grade == SPEED_GRADES[0]:
        limits.append(Limit(key="fmax_mhz", value=125.0, least=True))
    if design.data_width == 64 and design.num_fifos == 1 and not design.dma:
        limits.append(Limit(key="lut4", value=2000, least=False))
    return tuple(limits)
