# SPDX-License-Identifier: BSD-2-Clause
"""``python -m synth``: synthesise the designs, print a table, write the report."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from rich.table import Table

from hdl.verilog import generate
from sim.build import BUILD_ROOT
from sim.console import console as wide_console
from sim.toolchain import add_own_programs

from .designs import SPEED_GRADES, Design, limits_of
from .tools import SynthesisError, place, read, synthesise, versions, warm_up

__all__ = ["run_synthesis"]

Figures = dict[str, Any]


def run_synthesis(
    designs: Sequence[Design],
    *,
    speed_grades: Sequence[int] = SPEED_GRADES,
    xilinx: bool = True,
    jobs: int = 1,
) -> int:
    """Synthesise ``designs`` and write ``synth/report.json`` below the build root.

    Parameters
    ----------
    designs
        Designs to synthesise.
    speed_grades
        Speed grades of the ECP5 to place each design in.
    xilinx
        Whether to map to the Xilinx families as well.
    jobs
        Designs in parallel.

    Returns
    -------
    int
        Exit status: 0 if every limit is met.
    """
    add_own_programs()
    console = wide_console()
    folder = BUILD_ROOT / "synth"
    folder.mkdir(parents=True, exist_ok=True)
    console.print(
        "The tools are WebAssembly: compiling them at the first use takes about two minutes."
    )
    with console.status("compiling the tools ..."):
        seconds = warm_up()
    console.print(f"The tools are ready after {seconds:.0f} s.")

    configurations: list[Figures] = []
    failures: list[str] = []
    with ThreadPoolExecutor(jobs) as pool:
        tasks = {
            pool.submit(_entries_of, design, folder, speed_grades, xilinx): design
            for design in sorted(designs, key=_run_time_key, reverse=True)
        }
        for task in as_completed(tasks):
            try:
                figures = task.result()
            except SynthesisError as error:
                failures.append(str(error))
                console.print(f"[bold red]{error}[/]")
                continue
            configurations += figures
            for entry in figures:
                console.print(f"  {_summary(entry)}")

    configurations.sort(key=lambda entry: _table_key(designs, entry))
    failures += missed(configurations)
    report = {
        "ok": not failures,
        "failures": failures,
        "tools": versions(),
        "configurations": configurations,
    }
    path = folder / "report.json"
    path.write_text(json.dumps(report, indent=2) + "\n")
    console.print(_table(configurations))
    for failure in failures:
        console.print(f"[bold red]missed:[/] {failure}")
    console.print(f"report: {os.path.relpath(path)}", soft_wrap=True)
    return 0 if report["ok"] else 1


def missed(configurations: Iterable[Figures]) -> list[str]:
    """One line for each limit that is not met."""
    lines = []
    for entry in configurations:
        if entry["target"] != "ecp5":
            continue
        for limit in limits_of(_design_of(entry), entry["speed_grade"]):
            if not limit.met(entry[limit.key]):
                lines.append(
                    f"{_design_of(entry).name} on speed grade {entry['speed_grade']}: {limit}, "
                    f"is {entry[limit.key]:g}"
                )
    return lines


def _design_of(entry: Figures) -> Design:
    return Design(
        top=entry["top"],
        data_width=entry["data_width"],
        num_fifos=entry["num_fifos"],
        dma=entry["dma"],
    )


def _run_time_key(design: Design) -> tuple[int, bool, int]:
    """Sort key by run time: the longest designs start first, so that no long one runs alone."""
    return design.num_fifos, design.dma, design.data_width


def _table_key(designs: Sequence[Design], entry: Figures) -> tuple[int, str, int]:
    return designs.index(_design_of(entry)), entry["target"], entry["speed_grade"] or 0


def _entries_of(
    design: Design, folder: Path, speed_grades: Sequence[int], xilinx: bool
) -> list[Figures]:
    """The report entries of a design."""
    verilog = folder / f"{design.name}.v"
    verilog.write_text(
        generate(
            design.top,
            num_fifos=design.num_fifos,
            data_width=design.data_width,
            dma=design.dma,
        )
    )
    rtlil, read_seconds = read(verilog)
    entries: list[Figures] = []
    for target in design.families:
        if target == "ecp5":
            entries += _ecp5(design, rtlil, read_seconds, folder, speed_grades)
            continue
        if not xilinx:
            continue
        netlist = folder / f"{design.name}-{target}.json"
        area, seconds = synthesise(rtlil, design.module, target, netlist)
        entries.append(
            _entry(
                design,
                target,
                area.__dict__,
                read_seconds + seconds,
                speed_grade=None,
                fmax_mhz=None,
            )
        )
    return entries


def _ecp5(
    design: Design, rtlil: Path, read_seconds: float, folder: Path, speed_grades: Sequence[int]
) -> Iterator[Figures]:
    netlist = folder / f"{design.name}-ecp5.json"
    area, seconds = synthesise(rtlil, design.module, "ecp5", netlist)
    synthesis = read_seconds + seconds
    for speed_grade in speed_grades:
        runs = [
            place(
                netlist,
                speed_grade=speed_grade,
                seed=seed,
                timing_weight=design.timing_weight,
            )
            for seed in design.seeds
        ]
        yield _entry(
            design,
            "ecp5",
            area.__dict__,
            synthesis + sum(seconds for _, seconds in runs),
            speed_grade=speed_grade,
            fmax_mhz=round(statistics.median(fmax for fmax, _ in runs), 1),
            seeds={
                str(seed): round(fmax, 1)
                for seed, (fmax, _) in zip(design.seeds, runs, strict=True)
            },
        )


def _entry(
    design: Design, target: str, area: dict[str, int], seconds: float, **more: Any
) -> Figures:
    return {
        **design.__dict__,
        "target": target,
        **area,
        "seconds": round(seconds, 1),
        **more,
    }


def _summary(entry: Figures) -> str:
    target_name = entry["target"]
    if entry["speed_grade"]:
        target_name += f" speed {entry['speed_grade']}"
    fmax = f"{entry['fmax_mhz']:.1f} MHz, " if entry["fmax_mhz"] else ""
    return f"{_design_of(entry).name} on {target_name}: {fmax}{entry['lut4']:,} LUTs"


def _table(configurations: Iterable[Figures]) -> Table:
    table = Table(box=None)
    for column in ("top", "bits", "FIFOs", "DMA", "target", "speed"):
        table.add_column(column)
    for column in ("LUT", "FF", "block RAM", "MHz", "s"):
        table.add_column(column, justify="right")
    for entry in configurations:
        table.add_row(
            entry["top"],
            str(entry["data_width"]),
            str(entry["num_fifos"]),
            "yes" if entry["dma"] else "no",
            entry["target"],
            str(entry["speed_grade"] or ""),
            f"{entry['lut4']:,}",
            f"{entry['ff']:,}",
            str(entry["bram"]),
            f"{entry['fmax_mhz']:.1f}" if entry["fmax_mhz"] else "",
            f"{entry['seconds']:.0f}",
        )
    return table
