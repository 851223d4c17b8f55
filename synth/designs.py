# SPDX-License-Identifier: BSD-2-Clause
"""Designs to synthesise, their target families, and their limits."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from hdl.verilog import MODULE_NAMES, SHIMS, TOPS, default_data_width
from models.shell import MAX_FIFOS

__all__ = ["DESIGNS", "FAMILIES", "HEADLINES", "SPEED_GRADES", "Design", "Limit", "limits_of"]

WIDTHS = (64, 128)
FIFOS = (1, MAX_FIFOS)
SPEED_GRADES = (6, 8)
"""Speed grades of the ECP5: the slowest and the fastest."""

FAMILIES = ("ecp5", "xcup", "xc7")
"""Target families. Only the first has an open place and route tool, and thus a frequency."""

SHIM_FAMILIES = dict.fromkeys(SHIMS, ("xcup",)) | {"xilinx-7": ("xc7",)}
"""Target families of the hard-block tops, for comparison with the core. Yosys has no family with an
Intel hard block, and does not distinguish UltraScale from UltraScale+."""

HEADLINE_SEEDS = (1, 2, 3)
"""Placement seeds; the frequency of a headline design is the median over them."""


@dataclass(frozen=True, kw_only=True)
class Design:
    """A configuration of the gateware.

    Attributes
    ----------
    top
        A top of ``python -m hdl``.
    data_width
        Data width in bits.
    num_fifos
        Number of FIFOs.
    dma
        Whether the design has a DMA window.
    """

    top: str
    data_width: int
    num_fifos: int
    dma: bool

    @property
    def name(self) -> str:
        """Short unique name, also used for files."""
        return f"{self.top}-w{self.data_width}-f{self.num_fifos}-{'dma' if self.dma else 'nodma'}"

    @property
    def module(self) -> str:
        """Name of the Verilog module."""
        return MODULE_NAMES[self.top]

    @property
    def families(self) -> tuple[str, ...]:
        """Target families."""
        return SHIM_FAMILIES.get(self.top, FAMILIES)

    @property
    def seeds(self) -> tuple[int, ...]:
        """Placement seeds over which the median is taken."""
        return HEADLINE_SEEDS if self in HEADLINES else HEADLINE_SEEDS[:1]

    @property
    def timing_weight(self) -> int:
        """Placement weight of nets on a critical path, relative to other nets.

        The block RAMs of several FIFOs occupy several rows. The larger weight crowds cells between
        the rows: routing then takes up to twelve minutes, without a higher frequency.
        """
        return 200 if self.num_fifos == 1 else 20


DESIGNS = tuple(
    Design(top=top, data_width=width, num_fifos=fifos, dma=dma)
    for top, width, fifos, dma in itertools.product(TOPS, WIDTHS, FIFOS, (True, False))
) + tuple(
    Design(top=top, data_width=default_data_width(top), num_fifos=1, dma=True) for top in SHIMS
)

HEADLINES = tuple(Design(top=top, data_width=128, num_fifos=1, dma=True) for top in TOPS)
"""The designs whose figures are quoted."""


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A bound on a figure of a design.

    Attributes
    ----------
    key
        Key of the figure in the report.
    value
        The bound.
    is_minimum
        True for a lower bound, false for an upper bound.
    """

    key: str
    value: float
    is_minimum: bool

    def met(self, value: float) -> bool:
        """Whether ``value`` is within the bound."""
        return value >= self.value if self.is_minimum else value <= self.value

    def __str__(self) -> str:
        return f"{self.key} {'at least' if self.is_minimum else 'at most'} {self.value:g}"


def limits_of(design: Design, speed_grade: int) -> tuple[Limit, ...]:
    """Limits of the design on an ECP5 of this speed grade."""
    limits: list[Limit] = []
    if design.top not in TOPS:
        return ()
    if design.data_width == 128 and design.num_fifos == 1 and speed_grade == SPEED_GRADES[0]:
        limits.append(Limit(key="fmax_mhz", value=125.0, is_minimum=True))
    if design.data_width == 64 and design.num_fifos == 1 and not design.dma:
        limits.append(Limit(key="lut4", value=2000, is_minimum=False))
    return tuple(limits)
