# SPDX-License-Identifier: BSD-2-Clause
"""``python -m synth``: synthesise the designs, print a table, write the report."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from rich.table import Table

from hdl.verilog import generate
from models.layout import layout_of
from sim.build import BUILD_ROOT
from sim.console import console as wide_console
from sim.toolchain import add_own_programs

from .designs import ECP5, NEXUS, SPEED_GRADES, Design
from .limits import HEADLINE_LIMITS, LIMITS, SEEDS, is_placed_for_ci, seeds_of
from .nexus import SPEED_GRADES as NEXUS_SPEED_GRADES
from .tools import (
    Area,
    SynthesisError,
    place,
    place_nexus,
    read,
    synthesise,
    versions,
    warm_up,
)

__all__ = ["run_synthesis"]

Figures = dict[str, Any]


def run_synthesis(
    designs: Sequence[Design],
    *,
    headline: bool = False,
    jobs: int = 1,
) -> int:
    """Synthesise ``designs`` and write ``synth/report.json`` below the build root.

    Parameters
    ----------
    designs
        Designs to synthesise.
    headline
        Only what the limits that CI holds need: the slowest ECP5, and area alone if a design has no
        limit of the frequency among them.
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
            pool.submit(_entries_of, design, folder, headline): design
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
    """One line for each limit of the designs in the report that is not met.

    A relative limit is missed if its reference is not in the report, and a limit that CI holds if
    the figure was not measured.
    """
    measured = {
        _design_of(entry): entry
        for entry in configurations
        if entry["target"] == ECP5 and entry["speed_grade"] == SPEED_GRADES[0]
    }
    lines = []
    for limit in LIMITS:
        if limit.design not in measured:
            continue
        where = f"{limit.design.name} on speed grade {SPEED_GRADES[0]}: {limit}"
        value = measured[limit.design][limit.key]
        reference = None
        if limit.reference:
            if limit.reference not in measured:
                lines.append(f"{where}, which was not synthesised")
                continue
            reference = measured[limit.reference][limit.key]
        if value is None:
            if limit in HEADLINE_LIMITS:
                lines.append(f"{where}, was not measured")
        elif not limit.met(value, reference):
            of = f" = {limit.bound(reference):g}" if limit.reference else ""
            lines.append(f"{where}{of}, is {value:g}")
    return lines


def _design_of(entry: Figures) -> Design:
    return Design(
        top=entry["top"],
        data_width=entry["data_width"],
        num_fifos=entry["num_fifos"],
        dma=entry["dma"],
        layout=entry["layout"],
    )


def _run_time_key(design: Design) -> tuple[int, bool, int]:
    """Sort key by run time: the longest designs start first, so that no long one runs alone."""
    return design.num_fifos, design.dma, design.data_width


def _table_key(designs: Sequence[Design], entry: Figures) -> tuple[int, str, int]:
    return designs.index(_design_of(entry)), entry["target"], entry["speed_grade"] or 0


def _entries_of(design: Design, folder: Path, headline: bool) -> list[Figures]:
    """The report entries of a design."""
    verilog = folder / f"{design.name}.v"
    verilog.write_text(
        generate(
            design.top,
            num_fifos=design.num_fifos,
            data_width=design.data_width,
            dma=design.dma,
            layout=layout_of(design.layout),
        )
    )
    rtlil, read_seconds = read(verilog)
    entries: list[Figures] = []
    for target in design.families:
        if headline and target != ECP5:
            continue
        netlist = folder / f"{design.name}-{target}.json"
        area, seconds = synthesise(
            rtlil,
            design.module,
            target,
            netlist,
            lanes=design.lanes,
            delay_ps=design.delay_ps,
        )
        seconds += read_seconds
        if target == ECP5:
            entries += _on_ecp5(design, netlist, area, seconds, headline)
        elif target == NEXUS:
            entries += _on_nexus(design, netlist, area, seconds)
        else:
            entries.append(_entry(design, target, area, seconds, None, {}))
    return entries


def _on_ecp5(
    design: Design, netlist: Path, area: Area, seconds: float, headline: bool
) -> Iterator[Figures]:
    if headline and not is_placed_for_ci(design):
        yield _entry(design, ECP5, area, seconds, SPEED_GRADES[0], {})
        return
    for speed_grade in SPEED_GRADES[: 1 if headline else None]:
        runs = {
            seed: place(
                netlist,
                speed_grade=speed_grade,
                seed=seed,
                timing_weight=design.timing_weight,
            )
            for seed in seeds_of(design)
        }
        yield _entry(design, ECP5, area, seconds, speed_grade, runs)


def _on_nexus(design: Design, netlist: Path, area: Area, seconds: float) -> Iterator[Figures]:
    for speed_grade in NEXUS_SPEED_GRADES:
        runs = {
            seed: place_nexus(netlist, speed_grade=speed_grade, seed=seed) for seed in SEEDS[:1]
        }
        yield _entry(design, NEXUS, area, seconds, speed_grade, runs)


def _entry(
    design: Design,
    target: str,
    area: Area,
    seconds: float,
    speed_grade: int | None,
    runs: Mapping[int, tuple[float, float]],
) -> Figures:
    """A report entry; ``runs`` has frequency and seconds by placement seed."""
    entry = {
        **design.__dict__,
        "target": target,
        **area.__dict__,
        "seconds": round(seconds + sum(spent for _, spent in runs.values()), 1),
        "speed_grade": speed_grade,
        "fmax_mhz": None,
    }
    if runs:
        entry["fmax_mhz"] = round(statistics.median(fmax for fmax, _ in runs.values()), 1)
        entry["seeds"] = {str(seed): round(fmax, 1) for seed, (fmax, _) in runs.items()}
    return entry


def _summary(entry: Figures) -> str:
    target_name = entry["target"]
    if entry["speed_grade"]:
        target_name += f" speed {entry['speed_grade']}"
    fmax = f"{entry['fmax_mhz']:.1f} MHz, " if entry["fmax_mhz"] else ""
    return f"{_design_of(entry).name} on {target_name}: {fmax}{entry['lut4']:,} LUTs"


def _table(configurations: Iterable[Figures]) -> Table:
    table = Table(box=None)
    for column in ("top", "layout", "bits", "FIFOs", "DMA", "target", "speed"):
        table.add_column(column)
    for column in ("LUT", "FF", "block RAM", "MHz", "s"):
        table.add_column(column, justify="right")
    for entry in configurations:
        table.add_row(
            entry["top"],
            entry["layout"],
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
