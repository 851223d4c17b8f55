# SPDX-License-Identifier: BSD-2-Clause
"""Check of the documents whose tables name a test for each row.

Each table has columns ``id`` and ``test``. A test is ``path::function``, of pytest or of cocotb,
with or without ``[parameters]``; commas separate several. A row that no test can cover has
``does not apply: reason`` instead.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import test_regressions

ROOT = Path(__file__).resolve().parent.parent
REGRESSIONS = Path("tests/regressions")
_TEST = re.compile(r"(?P<path>[\w/.-]+\.py)(?P<names>(?:::\w+)+)(?:\[[^\]]+\])?")
_NO_TEST = re.compile(r"does not apply: *\S")


@dataclass(frozen=True)
class Row:
    """A row of a table: its line number, and its cells by column name."""

    line: int
    cells: dict[str, str]


class TableError(ValueError):
    """A malformed table: the text gives the line and the reason."""


def rows(text: str) -> Iterator[Row]:
    """Rows of all tables of a Markdown page, in order.

    Raises
    ------
    TableError
        A table lacks the line of dashes, or a row has more or fewer cells than the header.
    """
    header: list[str] | None = None
    dashes = fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("```"):
            fenced = not fenced
        if fenced or not stripped.startswith("|"):
            if header is not None and not dashes:
                raise TableError(f"line {number}: a table's header without a line of dashes")
            header, dashes = None, False
            continue
        cells = [
            cell.strip().replace(r"\|", "|")
            for cell in re.split(r"(?<!\\)\|", stripped.removeprefix("|").removesuffix("|"))
        ]
        if header is None:
            header = cells
        elif len(cells) != len(header):
            raise TableError(f"line {number}: {len(cells)} cells under {len(header)} columns")
        elif not dashes:
            if not all(re.fullmatch(":?-+:?", cell) for cell in cells):
                raise TableError(f"line {number}: a table's header without a line of dashes")
            dashes = True
        else:
            yield Row(number, dict(zip(header, cells, strict=True)))


def problems(
    text: str,
    root: Path = ROOT,
    run_regressions: Collection[str] = test_regressions.MODULES,
    *,
    every_table: bool = True,
) -> list[str]:
    """Problems of the tables of a page, one line each; empty if there are none.

    Parameters
    ----------
    text
        The page, in Markdown.
    root
        Folder to which the paths of tests are relative.
    run_regressions
        Modules of ``tests/regressions`` that ``test_regressions.py`` runs.
    every_table
        Whether every table must name tests, or only those with a ``test`` column.
    """
    messages: list[str] = []
    seen: dict[str, int] = {}
    try:
        table_rows = [row for row in rows(text) if every_table or "test" in row.cells]
    except TableError as error:
        return [str(error)]
    if not table_rows:
        return ["there is no table"]
    for row in table_rows:
        missing = {"id", "test"} - set(row.cells)
        if missing:
            messages.append(f"line {row.line}: no column {' and '.join(sorted(missing))}")
            continue
        name = row.cells["id"].strip("`")
        if not name:
            messages.append(f"line {row.line}: no id")
        elif name in seen:
            messages.append(f"line {row.line}: id {name} repeats that of line {seen[name]}")
        seen.setdefault(name, row.line)
        for problem in _test_problems(row.cells["test"], root, run_regressions):
            messages.append(f"line {row.line}, {name}: {problem}")
    return messages


def _test_problems(cell: str, root: Path, run_regressions: Collection[str]) -> Iterator[str]:
    if _NO_TEST.match(cell):
        return
    # Parameters may hold commas.
    for test in re.split(r",(?![^\[]*\])|<br>", cell):
        test = test.strip().strip("`")
        match = _TEST.fullmatch(test)
        if match is None:
            yield f"neither a test nor a reason: {test!r}"
            continue
        problem = _test_problem(
            root, Path(match["path"]), match["names"].split("::")[1:], run_regressions
        )
        if problem:
            yield problem


def _test_problem(
    root: Path, path: Path, names: list[str], run_regressions: Collection[str]
) -> str | None:
    if not (root / path).is_file():
        return f"{path} does not exist"
    scope: list[ast.stmt] = ast.parse((root / path).read_text()).body
    function: ast.stmt | None = None
    for name in names:
        function = next(
            (
                node
                for node in scope
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
                and node.name == name
            ),
            None,
        )
        if function is None:
            return f"{path} has no {name}"
        scope = function.body if isinstance(function, ast.ClassDef) else []
    if path.parent == REGRESSIONS:
        if not (isinstance(function, ast.AsyncFunctionDef) and _is_cocotb_test(function)):
            return f"{names[-1]} of {path} is not a cocotb test"
        if path.stem not in run_regressions:
            return f"tests/test_regressions.py does not run {path.stem}"
    elif not path.name.startswith("test_"):
        return f"pytest does not collect {path}"
    # The models' tests may be coroutines, which their conftest.py runs.
    elif isinstance(function, ast.ClassDef) or not names[-1].startswith("test"):
        return f"{names[-1]} of {path} is not a test"
    return None


def _is_cocotb_test(function: ast.AsyncFunctionDef) -> bool:
    decorators = (ast.unparse(node).partition("(")[0] for node in function.decorator_list)
    return any(name in ("cocotb.test", "cocotb.parametrize") for name in decorators)
