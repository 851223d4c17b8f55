# SPDX-License-Identifier: BSD-2-Clause
"""The recorded figures, ``figures/baseline.json``, and their extraction from the reports.

Keys of the baseline:

``tools``
    Version of each tool, by name.
``proofs``
    Properties that are proven and whose mutant is rejected.
``simulator``
    Simulator on which cycles were counted.
``cycles``
    For each top and column, cycles or bytes per cycle by figure, to six digits. Columns are the
    data widths in bits, with one FIFO, and :data:`ALL_FIFOS`.
``simulation``
    Speed of simulation, by simulator and host.
``bridge``
    Access rates of a guest, by what serves them.
``native``
    Ratios of the native engine, by name.
``synthesis``
    Area and frequency: one entry for each design, target and speed grade.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from hdl.verilog import TOPS
from sim.lab.bench.bounds import FIGURES
from sim.lab.bench.native import LIMITS as NATIVE_LIMITS
from synth.designs import Design

__all__ = [
    "ALL_FIFOS",
    "BASELINE",
    "INTERRUPTS",
    "AreaFigures",
    "Baseline",
    "Reports",
    "SynthesisPoint",
    "cycles_of",
    "dump",
    "from_reports",
    "load",
    "proofs_of",
    "synthesis",
    "synthesis_of",
]

BASELINE = Path("figures/baseline.json")

ALL_FIFOS = "all_fifos"
"""Column of the cycles with messages in all FIFOs at once, at 128 bits."""

INTERRUPTS = "push_interrupts"
"""Figure of the cycles that has no bound: interrupts raised for 61 messages."""

LINE_LENGTH = 190
"""Records of the baseline's file that fit are written on one line."""

Baseline = Mapping[str, Any]
Report = Mapping[str, Any]
Reports = Mapping[str, Report]
"""``formal``, ``bench`` and ``synth``: the ``report.json`` of each command."""


@dataclass(frozen=True)
class SynthesisPoint:
    """A synthesised design and its target; ``speed_grade`` is ``None`` if not placed."""

    top: str
    data_width: int
    num_fifos: int
    dma: bool
    layout: str
    target: str
    speed_grade: int | None

    @classmethod
    def of(cls, design: Design, target: str, speed_grade: int | None) -> SynthesisPoint:
        """The point of a design."""
        return cls(**asdict(design), target=target, speed_grade=speed_grade)

    @property
    def design(self) -> Design:
        """The design."""
        return Design(**{field.name: getattr(self, field.name) for field in fields(Design)})

    def __str__(self) -> str:
        dma = "" if self.dma else " without DMA"
        grade = f" speed {self.speed_grade}" if self.speed_grade else ""
        return (
            f"{self.top}, {self.data_width} bits, {self.num_fifos} FIFO{dma}, {self.layout}, "
            f"{self.target}{grade}"
        )


@dataclass(frozen=True)
class AreaFigures:
    """Area, and the achieved frequency, which is ``None`` if the design is not placed."""

    lut4: int
    ff: int
    bram: int
    fmax_mhz: float | None


def load(path: Path = BASELINE) -> Baseline:
    """The recorded figures."""
    baseline: Baseline = json.loads(path.read_text())
    return baseline


def dump(baseline: Baseline) -> str:
    """The text of :data:`BASELINE`."""
    return _json(baseline, "") + "\n"


def _json(value: Any, indent: str) -> str:
    """JSON with every record on a line of its own."""
    is_record = isinstance(value, Mapping) and not any(
        isinstance(each, Mapping | list) for each in value.values()
    )
    line = json.dumps(value)
    if not isinstance(value, Mapping | list) or (is_record and len(line) <= LINE_LENGTH):
        return line
    inner = f"{indent}  "
    if isinstance(value, Mapping):
        start, end = "{}"
        items = [f"{json.dumps(key)}: {_json(each, inner)}" for key, each in value.items()]
    else:
        start, end = "[]"
        items = [_json(each, inner) for each in value]
    return f"{start}\n{inner}" + f",\n{inner}".join(items) + f"\n{indent}{end}"


def from_reports(reports: Reports) -> Baseline:
    """The figures of the latest reports."""
    formal, bench, synth = (reports[name] for name in ("formal", "bench", "synth"))
    return {
        "tools": dict(sorted({**synth["tools"], **formal["tools"]}.items())),
        "proofs": proofs_of(formal),
        "simulator": bench["simulator"],
        "cycles": cycles_of(bench),
        "simulation": {
            simulator: {
                host: {
                    key: round(speed[key]) for key in ("cycles_per_second", "messages_per_second")
                }
                for host, speed in hosts.items()
            }
            for simulator, hosts in bench["simulation"].items()
        },
        "bridge": bench["bridge"],
        "native": {name: bench["native"][name] for name in NATIVE_LIMITS},
        "synthesis": [
            {**asdict(point), **asdict(area)} for point, area in synthesis_of(synth).items()
        ],
    }


def proofs_of(report: Report) -> list[str]:
    """Properties that the report of ``formal`` has as proven, with the mutant rejected."""
    return [
        entry["property"]
        for entry in report["proofs"]
        if entry["result"] == "proven" and entry["mutant_rejected"]
    ]


def cycles_of(report: Report) -> dict[str, dict[str, dict[str, float]]]:
    """Figures of the report of ``bench``, by top, column and key."""
    cycles: dict[str, dict[str, dict[str, float]]] = {}
    for top in TOPS:
        widths = (report if top == "endpoint" else report[top])["widths"]
        columns = {**widths, ALL_FIFOS: report["every_fifo"][top]}
        cycles[top] = {
            column: {
                figure.key: _six_digits(entries[figure.key]["value"])
                for figure in FIGURES
                if figure.key in entries
            }
            for column, entries in columns.items()
        }
        for width in widths:
            cycles[top][width][INTERRUPTS] = _six_digits(report[INTERRUPTS][top][width])
    return cycles


def _six_digits(value: float) -> float:
    rounded = float(f"{value:.6g}")
    return int(rounded) if rounded.is_integer() else rounded


def synthesis_of(report: Report) -> dict[SynthesisPoint, AreaFigures]:
    """Area and frequency in the report of ``synth``."""
    return _by_point(report["configurations"])


def synthesis(baseline: Baseline) -> dict[SynthesisPoint, AreaFigures]:
    """Area and frequency in the baseline."""
    return _by_point(baseline["synthesis"])


def _by_point(entries: list[Report]) -> dict[SynthesisPoint, AreaFigures]:
    return {
        SynthesisPoint(**{name: entry[name] for name in SynthesisPoint.__annotations__}): (
            AreaFigures(**{name: entry[name] for name in AreaFigures.__annotations__})
        )
        for entry in entries
    }
