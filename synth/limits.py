# SPDX-License-Identifier: BSD-2-Clause
"""Limits of area and frequency, on an ECP5 of the slowest speed grade."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hdl.verilog import TOPS
from models.shell import MAX_FIFOS

from .designs import DESIGNS, LIVE_PAGES, Design

__all__ = [
    "FREQUENCY",
    "HEADLINES",
    "HEADLINE_LIMITS",
    "LIMITS",
    "SEEDS",
    "Limit",
    "is_placed_for_ci",
    "limits_of",
    "seeds_of",
    "with_references",
]

FREQUENCY = "fmax_mhz"
"""Key of the frequency in the report."""

SEEDS = (1, 2, 3)
"""Placement seeds; a frequency that has a limit is the median over them."""


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A bound on a figure of a design.

    Attributes
    ----------
    design
        The design.
    key
        Key of the figure in the report.
    value
        The bound, or a factor of the figure of ``reference``.
    is_minimum
        True for a lower bound, false for an upper bound.
    reference
        Design whose figure the bound is a multiple of, if it is relative.
    """

    design: Design
    key: str
    value: float
    is_minimum: bool = False
    reference: Design | None = None

    def bound(self, reference: float | None = None) -> float:
        """The bound, for the figure of the reference if it is relative."""
        if self.reference is None:
            return self.value
        if reference is None:
            raise ValueError(f"reference is None: must be {self.key} of {self.reference.name}")
        return self.value * reference

    def met(self, value: float, reference: float | None = None) -> bool:
        """Whether ``value`` is within the bound."""
        bound = self.bound(reference)
        return value >= bound if self.is_minimum else value <= bound

    def __str__(self) -> str:
        of = f" times {self.reference.name}" if self.reference else ""
        return f"{self.key} {'at least' if self.is_minimum else 'at most'} {self.value:g}{of}"


def _design(top: str, data_width: int, num_fifos: int, dma: bool) -> Design:
    return Design(top=top, data_width=data_width, num_fifos=num_fifos, dma=dma)


def _frequency(design: Design, megahertz: float) -> Limit:
    return Limit(design=design, key=FREQUENCY, value=megahertz, is_minimum=True)


_ONE_FIFO = _design("core", 128, 1, dma=False)
_ALL_FIFOS = _design("core", 128, MAX_FIFOS, dma=False)

HEADLINE_LIMITS = (
    *(_frequency(_design(top, 128, 1, dma=True), 130) for top in TOPS),
    _frequency(_ALL_FIFOS, 125),
    _frequency(_design("endpoint", 128, MAX_FIFOS, dma=True), 115),
    Limit(design=_ALL_FIFOS, key="lut4", value=1.4, reference=_ONE_FIFO),
    Limit(design=_design("core", 64, 1, dma=False), key="lut4", value=1250),
    *(
        Limit(design=design, key="bram", value=56)
        for design in DESIGNS
        if design.layout == LIVE_PAGES
    ),
)
"""The limits that CI holds."""

LIMITS = (
    *HEADLINE_LIMITS,
    *(_frequency(_design(top, 128, 1, dma=False), 125) for top in TOPS),
    Limit(design=_design("endpoint", 64, 1, dma=False), key="lut4", value=2000),
)
"""All limits, in the order of the report."""


def limits_of(design: Design) -> tuple[Limit, ...]:
    """Limits of the design on an ECP5 of the slowest speed grade."""
    return tuple(limit for limit in LIMITS if limit.design == design)


def is_placed_for_ci(design: Design) -> bool:
    """Whether the design has a limit of the frequency that CI holds."""
    return any(limit.design == design and limit.key == FREQUENCY for limit in HEADLINE_LIMITS)


def seeds_of(design: Design) -> tuple[int, ...]:
    """Placement seeds over which the median is taken."""
    has_limit = any(limit.key == FREQUENCY for limit in limits_of(design))
    return SEEDS if has_limit else SEEDS[:1]


def with_references(designs: Iterable[Design]) -> tuple[Design, ...]:
    """``designs``, and the designs to which their limits are relative, in the order of DESIGNS."""
    wanted = set(designs)
    wanted |= {limit.reference for limit in LIMITS if limit.reference and limit.design in wanted}
    return tuple(design for design in DESIGNS if design in wanted)


HEADLINES = with_references(limit.design for limit in HEADLINE_LIMITS)
"""The designs that CI synthesises."""
