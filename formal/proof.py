# SPDX-License-Identifier: BSD-2-Clause
"""Declaration of a proof: the property, its harness and method, and the mutant it must reject."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .harness import Harness

__all__ = ["METHODS", "Mutant", "Proof"]

METHODS = ("k-induction", "bmc")
"""``k-induction`` is unbounded; ``bmc`` is bounded to ``depth`` cycles after reset."""


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """A fault inserted into the gateware at one place.

    Attributes
    ----------
    module
        Dotted name of the Python module that the mutant changes.
    before, after
        Text to replace, which occurs once in the module, and its replacement.
    depth
        Cycles after reset within which the solver must find a counterexample.
    """

    module: str
    before: str
    after: str
    depth: int = 20


@dataclass(frozen=True, kw_only=True)
class Proof:
    """One property, proven with one harness.

    Attributes
    ----------
    property
        Short unique name, also used for files.
    statement
        What is proven, with which parameters and under which assumptions.
    source
        Origin of the requirement.
    module
        Dotted name of the gateware module under proof.
    harness
        Fills in a :class:`~formal.harness.Harness`.
    method
        One of :data:`METHODS`.
    depth
        The k of the induction, or the bound, in cycles.
    mutant
        Fault that the proof must reject.
    cover_depth
        Cycles after reset within which every cover statement must be reached.

    Raises
    ------
    ValueError
        The method is not one of :data:`METHODS`, or a depth is below 1.
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
