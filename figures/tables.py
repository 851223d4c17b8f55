# SPDX-License-Identifier: BSD-2-Clause
"""Tables of Markdown: written, and read back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["TableError", "read", "write"]


class TableError(ValueError):
    """A document has no such table; the text says which heading was looked for."""


def write(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table whose cells are the rows' as text."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def read(document: str, heading: str) -> list[dict[str, str]]:
    """The rows of the first table below ``heading``, each by the names of its columns.

    Raises
    ------
    TableError
        There is no such heading, or no table before the next one.
    """
    _, found, below = f"\n{document}".partition(f"\n## {heading}\n")
    if not found:
        raise TableError(f"there is no heading {heading!r}")
    section = below.partition("\n## ")[0]
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if line.startswith("|")
    ]
    if len(lines) < 2:
        raise TableError(f"there is no table below {heading!r}")
    columns, _, *rows = lines
    return [dict(zip(columns, row, strict=True)) for row in rows]
