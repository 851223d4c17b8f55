# SPDX-License-Identifier: BSD-2-Clause
"""``python -m sim bench``: measure, print the tables, write the report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from rich.table import Table

from hdl.tlp import DATA_WIDTHS
from hdl.verilog import TOPS
from models.shell import MAX_FIFOS

from ... import toolchain
from ...build import BUILD_ROOT, BuildConfiguration
from ...command import ReportFolder, print_failure
from ...console import console as wide_console
from ...run import simulate
from .bounds import FIGURES
from .bridge import Rates, measure_bridge, missed_limits
from .measures import FOLDER
from .native import LIMITS as NATIVE_LIMITS
from .native import measure_native, profile_blocks
from .native import missed_limits as missed_native_limits
from .native import ratios as native_ratios

__all__ = ["check_figures", "measure", "run_bench"]

Figures = dict[str, float]
CheckedFigures = dict[str, dict[str, Any]]

HOSTS = ("thin", "root_complex")
SPEEDS = (*HOSTS, "thin_dma", "thin_blocks")
"""Measurements of ``speed``, by the names of their files."""
RATE_KEYS = ("pop_cycles_per_message", "push_cycles_per_message", "both_cycles_per_message")


def measure(configuration: BuildConfiguration, folder: Path) -> dict[str, Figures]:
    """The figures of a build: of ``one`` FIFO, and of ``every`` FIFO at once if it has several.

    Raises
    ------
    SimulationError
        A measurement failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    simulate(
        configuration,
        "sim.lab.bench.measures",
        folder,
        seed=1,
        environment={FOLDER: str(folder.absolute())},
    )
    figures: dict[str, Figures] = json.loads((folder / "figures.json").read_text())
    return figures


def check_figures(values: Mapping[str, float], width: int) -> CheckedFigures:
    """Each figure with its bound, its limit, and whether it is within the limit."""
    return {
        figure.key: {
            "value": values[figure.key],
            "bound": figure.bound(width),
            "limit": figure.limit(width),
            "ok": figure.reached(values[figure.key], width),
        }
        for figure in FIGURES
        if figure.key in values
    }


def _simulation_speed(simulator: str, folder: Path) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    simulate(
        BuildConfiguration(simulator=simulator),
        "sim.lab.bench.speed",
        folder,
        seed=1,
        environment={FOLDER: str(folder.absolute())},
    )
    return {name: json.loads((folder / f"{name}.json").read_text()) for name in SPEEDS}


def run_bench(*, simulator: str | None = None, jobs: int = 1) -> int:
    """Measure everything; ``bench/report.json`` below the build root.

    Parameters
    ----------
    simulator
        Simulator that counts the cycles; the default is the best one installed.
    jobs
        Number of parallel measurements.

    Returns
    -------
    int
        Exit status: 0 if every limit is reached.
    """
    console = wide_console()
    output = ReportFolder(BUILD_ROOT / "bench")
    folder = output.path
    simulator_name = toolchain.find(simulator).name
    builds = {
        (top, width, fifos): BuildConfiguration(
            top=top, data_width=width, num_fifos=fifos, simulator=simulator_name
        )
        for top in TOPS
        for width, fifos in [*((width, 1) for width in DATA_WIDTHS), (128, MAX_FIFOS)]
    }
    with (
        console.status(f"counting cycles of {len(builds)} builds on {simulator_name} ..."),
        ProcessPoolExecutor(jobs) as pool,
    ):
        tasks = {
            key: pool.submit(measure, build, folder / "-".join(map(str, key)))
            for key, build in builds.items()
        }
        measured = {key: task.result() for key, task in tasks.items()}

    tops: dict[str, dict[str, CheckedFigures]] = {}
    every: dict[str, CheckedFigures] = {}
    for top in TOPS:
        tops[top] = {
            str(width): check_figures(measured[top, width, 1]["one"], width)
            for width in DATA_WIDTHS
        }
        rates = {key: measured[top, 128, MAX_FIFOS]["every"][key] for key in RATE_KEYS}
        every[top] = check_figures(rates, 128)
    with console.status("timing the simulation on each simulator ..."):
        speed = {
            name: _simulation_speed(name, folder / f"speed-{name}")
            for name in toolchain.available()
        }

    with console.status("timing a guest's accesses ..."):
        bridge = measure_bridge(list(toolchain.available()), folder)

    # It needs Verilator.
    has_native = "verilator" in speed
    native: dict[str, Any] = {}
    if has_native:
        with console.status("timing the native engine ..."):
            native_rates, shares = measure_native(), profile_blocks()
        native = {
            **native_ratios(native_rates, speed["verilator"], bridge),
            "idle_processor_share": bridge["native"]["idle"],
            "rates": {"native": native_rates, "cocotb": speed["verilator"]},
            "block_request_shares": shares,
        }

    failures = [
        f"{where}: {key} is {entry['value']:g}, must reach {entry['limit']:g}"
        for where, checked in (
            *((f"{top}, {width} bits", tops[top][width]) for top in TOPS for width in tops[top]),
            *((f"{top}, {MAX_FIFOS} FIFOs", every[top]) for top in TOPS),
        )
        for key, entry in checked.items()
        if not entry["ok"]
    ]
    failures += missed_limits(bridge)
    failures += missed_native_limits(native) if has_native else []
    report = {
        "ok": not failures,
        "failures": failures,
        "simulator": simulator_name,
        "widths": tops["endpoint"],
        "core": {"widths": tops["core"]},
        "every_fifo": {"num_fifos": MAX_FIFOS, "data_width": 128, **every},
        "push_interrupts": {
            top: {
                str(width): measured[top, width, 1]["one"]["push_interrupts"]
                for width in DATA_WIDTHS
            }
            for top in TOPS
        },
        "simulation": {
            name: {host: speeds[host] for host in HOSTS} for name, speeds in speed.items()
        },
        "bridge": bridge,
        "native": native,
    }
    status = output.write(report)
    for top in TOPS:
        console.print(_cycles_table(top, tops[top], every[top]))
    console.print(_speed_table(speed))
    console.print(_bridge_table(bridge))
    if has_native:
        console.print(_native_table(native))
    for failure in failures:
        print_failure(console, "missed:", failure)
    output.print_report_path(console)
    return status


def _cycles_table(top: str, widths: Mapping[str, CheckedFigures], every: CheckedFigures) -> Table:
    table = Table(title=f"{top}: measured / bound", box=None, title_justify="left")
    table.add_column("figure")
    for width in widths:
        table.add_column(f"{width} bits", justify="right")
    table.add_column(f"128 bits, {MAX_FIFOS} FIFOs", justify="right")
    for figure in FIGURES:
        cells = [_cell(checked[figure.key]) for checked in widths.values()]
        cells.append(_cell(every[figure.key]) if figure.key in every else "")
        table.add_row(figure.key, *cells)
    return table


def _cell(entry: Mapping[str, Any]) -> str:
    colour = "green" if entry["ok"] else "red"
    return f"[{colour}]{entry['value']:.4g}[/] / {entry['bound']:g}"


def _speed_table(speed: Mapping[str, Any]) -> Table:
    table = Table(title="simulation speed", box=None, title_justify="left")
    for column in ("simulator", "host", "cycles/s", "messages/s", "ratio"):
        table.add_column(column, justify="left" if column in ("simulator", "host") else "right")
    slowest = min(
        (hosts[host]["messages_per_second"] for hosts in speed.values() for host in HOSTS),
        default=1.0,
    )
    for simulator, hosts in speed.items():
        for host in HOSTS:
            figures = hosts[host]
            table.add_row(
                simulator,
                host.replace("_", " "),
                f"{figures['cycles_per_second']:,}",
                f"{figures['messages_per_second']:,.0f}",
                f"{figures['messages_per_second'] / slowest:.1f}",
            )
    return table


def _bridge_table(bridge: Mapping[str, Rates]) -> Table:
    table = Table(title="guest accesses, served from", box=None, title_justify="left")
    table.add_column("")
    for column in ("reads/s", "of memory's", "posted writes/s", "of memory's"):
        table.add_column(column, justify="right")
    for source, rates in bridge.items():
        cells = [
            text
            for kind in ("reads", "writes")
            for text in (f"{rates[f'{kind}_per_s']:,.0f}", f"{rates.get(f'{kind}_ratio', 1):.3f}")
        ]
        table.add_row(source, *cells)
    return table


def _native_table(native: Mapping[str, Any]) -> Table:
    table = Table(title="native engine", box=None, title_justify="left")
    table.add_column("ratio")
    table.add_column("measured / limit", justify="right")
    for name, limit in NATIVE_LIMITS.items():
        value = native[name]
        colour = "green" if value >= limit else "red"
        table.add_row(name, f"[{colour}]{value:g}[/] / {limit:g}")
    for part, share in native["block_request_shares"].items():
        table.add_row(f"time of a block request: {part}", f"{share:.0%}")
    return table
