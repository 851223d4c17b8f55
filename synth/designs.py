# SPDX-License-Identifier: BSD-2-Clause
"""Designs to synthesise, and their target families."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from hdl.verilog import MODULE_NAMES, SHIMS, TOPS, default_data_width
from models.layout import LAYOUTS, SPSC_PAGES
from models.shell import MAX_FIFOS

__all__ = [
    "DESIGNS",
    "ECP5",
    "FAMILIES",
    "FIFO_CURVE",
    "LIVE_PAGES",
    "NEXUS",
    "SPEED_GRADES",
    "XILINX_FAMILIES",
    "Design",
]

WIDTHS = (64, 128)
FIFOS = (1, MAX_FIFOS)
SPEED_GRADES = (6, 8)
"""Speed grades of the ECP5: the slowest and the fastest."""

ECP5 = "ecp5"
NEXUS = "lifcl"
XILINX_FAMILIES = ("xcup", "xc7")

FAMILIES = (ECP5, *XILINX_FAMILIES)
"""Target families. Only the first has an open place and route tool, and thus a frequency."""

SHIM_FAMILIES = dict.fromkeys(SHIMS, ("xcup",)) | {"xilinx-7": ("xc7",)}
"""Target families of the hard-block tops, for comparison with the core. Yosys has no family with an
Intel hard block, and does not distinguish UltraScale from UltraScale+."""


LIVE_PAGES = "live-pages"
"""Name of the layout with the fewest block RAMs for eight FIFOs."""


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
    layout
        Name of the layout of the shared memory.
    """

    top: str
    data_width: int
    num_fifos: int
    dma: bool
    layout: str = SPSC_PAGES.name

    @property
    def name(self) -> str:
        """Short unique name, also used for files."""
        name = f"{self.top}-w{self.data_width}-f{self.num_fifos}-{'dma' if self.dma else 'nodma'}"
        return name if self.layout == SPSC_PAGES.name else f"{name}-{self.layout}"

    @property
    def module(self) -> str:
        """Name of the Verilog module."""
        return MODULE_NAMES[self.top]

    @property
    def families(self) -> tuple[str, ...]:
        """Target families.

        Nexus is for comparison, for 128 bits, one FIFO and DMA: a LIFCL-40 has 84 block RAMs.
        """
        if self.top in SHIM_FAMILIES:
            return SHIM_FAMILIES[self.top]
        is_compared = (self.data_width, self.num_fifos, self.dma) == (128, 1, True)
        return (*FAMILIES, NEXUS) if is_compared else FAMILIES

    @property
    def timing_weight(self) -> int:
        """Placement weight of nets on a critical path, relative to other nets.

        The block RAMs of several FIFOs occupy several rows. The larger weight crowds cells between
        the rows: routing then takes up to twelve minutes, without a higher frequency.
        """
        return 200 if self.num_fifos == 1 else 40

    @property
    def delay_ps(self) -> int | None:
        """Delay of the longest path up to which logic becomes smaller instead of faster.

        Designs of two lanes have time to spare. The others become slower.
        """
        return 7500 if self.lanes == 2 else None

    @property
    def lanes(self) -> int:
        """Dwords in a word."""
        return self.data_width // 32


FIFO_CURVE = tuple(
    Design(top="core", data_width=128, num_fifos=fifos, dma=False) for fifos in (1, 2, 4, MAX_FIFOS)
)
"""Designs of the charts of area and frequency over the number of FIFOs."""

_MATRIX = tuple(
    Design(top=top, data_width=width, num_fifos=fifos, dma=dma)
    for top, width, fifos, dma in itertools.product(TOPS, WIDTHS, FIFOS, (True, False))
)

DESIGNS = (
    *_MATRIX,
    *(design for design in FIFO_CURVE if design not in _MATRIX),
    *(
        Design(top="core", data_width=128, num_fifos=MAX_FIFOS, dma=False, layout=name)
        for name in (LIVE_PAGES,)
        if name in LAYOUTS
    ),
    *(Design(top=top, data_width=default_data_width(top), num_fifos=1, dma=True) for top in SHIMS),
)
