# SPDX-License-Identifier: BSD-2-Clause
"""What a proof is: a property, what it is proven of and how, and the break that it must reject."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .harness import Harness

__all__ = ["METHODS", "Mutant", "Proof"]

METHODS = ("k-induction", "bmc")
"""``k-induction`` holds for ever; ``bmc`` for as many cycles after reset as the depth says."""


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """A break of the design, in one place.

    Attributes
    ----------
    module
        The Python module that it is in, by its dotted name.
    before, after
        The text there, which occurs once, and what it becomes.
    depth
        Cycles after reset within which a counterexample must show up.
    """

    module: str
    before: str
    after: str
    depth: int = 20


@dataclass(frozen=True, kw_only=True)
class Proof:
    """One property of one harness.

    Attributes
    ----------
    property
        Short and unique, also for files.
    statement
        What is proven, of which parameters, under which assumptions.
    source
        Where the requirement is from.
    module
        The part of the gateware, by its dotted name.
    harness
        Fills in a :class:`~formal.harness.Harness`.
    method
        One of :data:`METHODS`.
    depth
        The k of the induction, or the bound; cycles.
    mutant
        What must not pass.
    cover_depth
        Cycles within which everything that the harness wants covered must happen.

    Raises
    ------
    ValueError
        The method is none, or a depth is below 1.
    """

    property: str
    statement: str
    source: str
    module: str
    harness: Callable[[Harness], None]
    method: str = "k-induction"
    depth: int = 2
    mutant: Mutant
    cover_depth: int = 20

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"method is {self.method!r}: must be one of {', '.join(METHODS)}")
        for name in ("depth", "cover_depth"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: must be 1 or more")
