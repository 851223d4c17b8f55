# SPDX-License-Identifier: BSD-2-Clause
"""Import of a gateware module with a mutant applied."""

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
    """A mutant's text does not occur exactly once, or its module is already imported."""


def mutated(mutant: Mutant, source: str) -> str:
    """``source`` with the mutant applied.

    Raises
    ------
    MutantError
        The mutant's text does not occur exactly once.
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
        # Bypass the bytecode cache: the mutant is neither read from it nor written to it.
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
    """Apply the mutant when its module is imported.

    Raises
    ------
    MutantError
        The module is already imported.
    """
    if mutant.module in sys.modules:
        raise MutantError(f"{mutant.module} is already imported")
    sys.meta_path.insert(0, _Finder(mutant))
