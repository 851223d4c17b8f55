# SPDX-License-Identifier: BSD-2-Clause
"""Compiles the guest's program and its kernel module."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import ProgramError
from .fetch.kernel import Kernel

SOURCES = Path(__file__).parent / "program"
FACTS = "facts.h"
# Static: the guest has no libraries.
CFLAGS = ("-std=gnu11", "-O2", "-g", "-Wall", "-Wextra", "-static")
MODULE = "amp_irq"
SHOWN_LINES = 20


@dataclass(frozen=True)
class Program:
    """The compiled files.

    Attributes
    ----------
    init
        The program, which runs as the guest's process 1.
    module
        The kernel module.
    """

    init: Path
    module: Path


def compile_program(facts: str, kernel: Kernel, folder: Path) -> Program:
    """Compile program and module in ``folder``, with ``facts`` as their header.

    Raises
    ------
    ProgramError
        A tool is missing or failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FACTS).write_text(facts)
    return Program(init=compile_init(folder), module=_compile_module(kernel, folder))


def compile_init(folder: Path) -> Path:
    """Compile the program, with ``facts.h`` of ``folder``; raises as :func:`compile_program`."""
    target = folder / "init"
    sources = sorted(map(str, SOURCES.glob("*.c")))
    _run(["gcc", *CFLAGS, "-I", str(folder), "-o", str(target), *sources])
    return target


def _compile_module(kernel: Kernel, folder: Path) -> Path:
    tree = folder / "module"
    # kbuild writes beside the sources.
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(SOURCES / "module", tree)
    shutil.copy2(folder / FACTS, tree / FACTS)
    path = os.pathsep.join(
        part for part in (str(kernel.libraries), os.environ.get("LD_LIBRARY_PATH")) if part
    )
    _run(
        ["make", "-C", str(kernel.headers), f"M={tree.absolute()}", "CC=gcc", "modules"],
        # The flags of an outer make must not reach this one.
        {"LD_LIBRARY_PATH": path, "MAKEFLAGS": "", "MFLAGS": ""},
    )
    module = tree / f"{MODULE}.ko"
    _run(["strip", "--strip-debug", str(module)])
    return module


def _run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
    try:
        outcome = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, **(environment or {})}
        )
    except FileNotFoundError as error:
        raise ProgramError(
            f"{command[0]} is not on this machine: install it (Debian: apt-get install gcc make)"
        ) from error
    if outcome.returncode:
        output = (outcome.stdout + outcome.stderr).strip().splitlines()[-SHOWN_LINES:]
        raise ProgramError("\n".join([f"{command[0]} failed on the guest's program", *output]))
