# SPDX-License-Identifier: BSD-2-Clause
"""Imports a module with a mutant in it, in a process of its own."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

from .proof import Mutant

__all__ = ["MutantError", "install", "mutated"]


class MutantError(ValueError):
    """A mutant's text does not occur once in its module."""


def mutated(mutant: Mutant, source: str) -> str:
    """``source`` with the mutant in it.

    Raises
    ------
    MutantError
        Its text does not occur, or more than once.
    """
    occurrences = source.count(mutant.before)
    if occurrences != 1:
        raise MutantError(
            f"{mutant.before!r} occurs {occurrences} times in {mutant.module}: must be once"
        )
    return source.replace(mutant.before, mutant.after)


class _Loader(SourceFileLoader):
    def __init__(self, mutant: Mutant, path: str):
        super().__init__(mutant.module, path)
        self._mutant = mutant

    def get_code(self, fullname: str) -> CodeType:
        # Not by way of the cached bytecode, neither out nor in.
        source = mutated(self._mutant, Path(self.path).read_text())
        return self.source_to_code(source.encode(), self.path)


class _Finder(MetaPathFinder):
    def __init__(self, mutant: Mutant):
        self._mutant = mutant

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._mutant.module:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.origin is None:
            return None
        return importlib.util.spec_from_file_location(
            fullname, spec.origin, loader=_Loader(self._mutant, spec.origin)
        )


def install(mutant: Mutant) -> None:
    """Have the mutant in its module from now on.

    Raises
    ------
    MutantError
        The module has been imported already.
    """
    if mutant.module in sys.modules:
        raise MutantError(f"{mutant.module} has been imported already")
    sys.meta_path.insert(0, _Finder(mutant))
