# SPDX-License-Identifier: BSD-2-Clause
"""The how-to pages: files, changes and commands that they show, carried out in a copy.

A block after a line that ends with a path in backquotes and a colon is that file; if its language
is ``diff``, it is a change of that file. A block of language ``sh`` is a command, and a block
without a language after it has lines that the command prints. A command whose comment says that it
builds the gateware takes minutes.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILDS = "# Builds the gateware"
NOT_COPIED = shutil.ignore_patterns(
    ".*cache", ".git", ".hypothesis", ".venv", "__pycache__", "build"
)
_PATH = re.compile(r"`([\w/.-]+\.\w+)`:$")


@dataclass(frozen=True)
class Step:
    """A block of a page: a new ``file``, a ``diff`` of one, a ``command`` or its ``output``."""

    kind: str
    text: str
    path: str = ""


def steps(page: str) -> Iterator[Step]:
    """The blocks of a page that its test carries out, in order."""
    before, language, lines = "", None, []
    for line in page.splitlines():
        if not line.startswith("```"):
            if language is not None:
                lines.append(f"{line}\n")
            elif line:
                before = line
            continue
        if language is None:
            language, lines = line[3:], []
            continue
        text, path = "".join(lines), _PATH.search(before)
        if language == "sh":
            yield Step("command", text)
        elif path:
            yield Step("diff" if language == "diff" else "file", text, path[1])
        elif not language:
            yield Step("output", text)
        before, language = "", None


def shown_files(page: str) -> list[str]:
    """Paths of the files that a page adds, and of those that its commands write."""
    written = re.findall(r" -o ([\w/.-]+)", page)
    return [step.path for step in steps(page) if step.kind == "file"] + written


def changed(text: str, diff: str) -> str:
    """``text`` with each hunk of ``diff`` applied; lines ``@@`` separate the hunks.

    Raises
    ------
    ValueError
        The lines of a hunk that remain or go do not occur exactly once.
    """
    for hunk in re.split(r"^@@\n", diff, flags=re.MULTILINE):
        lines = hunk.splitlines(keepends=True)
        before = "".join(line[1:] for line in lines if line[0] in " -")
        after = "".join(line[1:] for line in lines if line[0] in " +")
        if text.count(before) != 1:
            raise ValueError(f"occurs {text.count(before)} times, must be once:\n{before}")
        text = text.replace(before, after)
    return text


def copy_project(folder: Path) -> None:
    """Copy the project to ``folder``; environment and cached builds are shared."""
    shutil.copytree(ROOT, folder, ignore=NOT_COPIED, symlinks=True)
    (folder / ".venv").symlink_to(sys.prefix)
    (ROOT / "build" / "cache").mkdir(parents=True, exist_ok=True)
    (folder / "build").mkdir()
    (folder / "build" / "cache").symlink_to(ROOT / "build" / "cache")


def carry_out(page: str, folder: Path, *, builds: bool) -> None:
    """Do what a page shows in a copy of the project; ``builds``: also what builds the gateware.

    Raises
    ------
    AssertionError
        A command failed, or did not print a line that the page shows.
    """
    output = None
    for step in steps(page):
        if step.kind == "command":
            output = run(step.text, folder) if builds or BUILDS not in step.text else None
        elif step.kind == "output":
            for line in step.text.splitlines():
                assert output is None or line in output, f"not printed: {line}\n{output}"
        elif step.kind == "diff":
            file = folder / step.path
            file.write_text(changed(file.read_text(), step.text))
        else:
            file = folder / step.path
            assert not file.exists(), f"{step.path} exists"
            file.write_text(step.text)


def run(command: str, folder: Path) -> str:
    """Run ``command`` in ``folder``; return its output. Fails if the command does."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")
    }
    done = subprocess.run(
        ["bash", "-euc", command],
        cwd=folder,
        env={**inherited, "VIRTIO_MSG_AMP_BUILD": str(folder / "build")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}"
    return done.stdout
