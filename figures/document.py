# SPDX-License-Identifier: BSD-2-Clause
"""docs/figures.md from the reports of the three commands, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hdl.verilog import TOPS
from models.shell import MAX_FIFOS
from sim.lab.bench.bounds import FIGURES

from . import tables

__all__ = ["DOCUMENT", "AreaFigures", "SynthesisPoint", "areas", "cycles", "proofs", "render"]

DOCUMENT = Path("docs/figures.md")

EVERY = f"128 bits, {MAX_FIFOS} FIFOs"
INTERRUPTS = "push_interrupts"

Reports = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class SynthesisPoint:
    """What was synthesised, and for what; ``speed_grade`` is 0 where there is none."""

    top: str
    data_width: int
    num_fifos: int
    dma: bool
    target: str
    speed_grade: int

    def __str__(self) -> str:
        dma = "" if self.dma else " without DMA"
        grade = f" speed {self.speed_grade}" if self.speed_grade else ""
        return (
            f"{self.top}, {self.data_width} bits, {self.num_fifos} FIFO{dma}, {self.target}{grade}"
        )


@dataclass(frozen=True)
class AreaFigures:
    """What it takes, and the frequency that it reaches, 0 where that is not known."""

    lut4: int
    ff: int
    bram: int
    fmax_mhz: float


def configuration_of(entry: Mapping[str, Any]) -> SynthesisPoint:
    """Of an entry of the synthesis' report."""
    return SynthesisPoint(
        **{name: entry[name] for name in ("top", "data_width", "num_fifos", "dma", "target")},
        speed_grade=entry["speed_grade"] or 0,
    )


def area_of(entry: Mapping[str, Any]) -> AreaFigures:
    """Of an entry of the synthesis' report."""
    return AreaFigures(
        **{name: entry[name] for name in ("lut4", "ff", "bram")},
        fmax_mhz=entry["fmax_mhz"] or 0.0,
    )


def render(reports: Reports) -> str:
    """The document.

    Parameters
    ----------
    reports
        ``formal``, ``bench`` and ``synth``: what they have left in ``report.json``.
    """
    return "\n".join(_sections(reports))


def _sections(reports: Reports) -> Iterator[str]:
    formal, bench, synth = (reports[name] for name in ("formal", "bench", "synth"))
    tools = {**synth["tools"], **formal["tools"]}
    yield (
        "# Figures\n\n"
        "Made by `make figures` of what `make formal`, `make bench` and `make synth` say; not to "
        "be edited.\n`.ci/run` holds the gateware to them: a proof that is gone, a loss past 5 % "
        "in cycles or past\n10 % in area or frequency fails.\n\n"
        f"Tools: {', '.join(f'{name} {version}' for name, version in sorted(tools.items()))}; "
        f"cycles counted on {bench['simulator']}.\n"
    )
    yield (
        "## Proofs\n\n"
        "Each has a mutant, a break of the design in one line, that it rejects. Those by "
        "k-induction hold for ever,\nthose by bmc for as many cycles after reset as their depth "
        "says.\n\n"
        + tables.write(
            ("property", "what is proven", "source", "module", "method", "depth"),
            (
                tuple(
                    entry[key]
                    for key in ("property", "statement", "source", "module", "method", "depth")
                )
                for entry in formal["proofs"]
            ),
        )
    )
    yield (
        "## What is counted\n\n"
        + tables.write(
            ("figure", "what", "bound"),
            ((figure.key, figure.meaning, figure.why) for figure in FIGURES),
        )
        + f"\n`{INTERRUPTS}` is how many interrupts tell the host of the 61 messages: those "
        "that come\nfaster than interrupts can leave share one.\n"
    )
    for top in TOPS:
        yield f"## Cycles, {top}\n\nMeasured / bound.\n\n{_cycles_table(bench, top)}"
    yield f"## Speed of simulation\n\nOf one run, on one machine.\n\n{_speed_table(bench)}"
    yield (
        "## A guest's accesses\n\n"
        "Reads of a dword, and posted writes of a quadword with a read behind them, by a client\n"
        "of `python -m sim serve`: served out of memory, and by the simulated gateware. The best\n"
        f"of a few turns.\n\n{_bridge_table(bench)}"
    )
    yield (
        "## Area and frequency\n\n"
        "Lookup tables of four inputs on the ECP5 (LFE5U-85F, out of context), of up to six "
        "elsewhere; block RAMs\nof 18 Kibit, elsewhere of 18 or 36. The frequency is the median of "
        "three seeds for the two headline designs,\n128 bits with one FIFO and DMA, and of one "
        "seed elsewhere.\n\n"
        + tables.write(
            ("top", "bits", "FIFOs", "DMA", "target", "speed", "LUT", "FF", "block RAM", "MHz"),
            (_area_row(entry) for entry in synth["configurations"]),
        )
    )


def _bridge_table(bench: Mapping[str, Any]) -> str:
    return tables.write(
        ("served from", "reads/s", "of memory's", "posted writes/s", "of memory's"),
        (
            (
                behind,
                f"{rates['reads_per_s']:,}",
                rates.get("reads_ratio", 1),
                f"{rates['writes_per_s']:,}",
                rates.get("writes_ratio", 1),
            )
            for behind, rates in bench["bridge"].items()
        ),
    )


def _of_top(bench: Mapping[str, Any], top: str) -> Mapping[str, Any]:
    widths: Mapping[str, Any] = (bench if top == "endpoint" else bench[top])["widths"]
    return widths


def _cycles_table(bench: Mapping[str, Any], top: str) -> str:
    widths = _of_top(bench, top)
    every = bench["every_fifo"][top]

    def cell(entry: Mapping[str, Any] | None) -> str:
        return f"{entry['value']:.6g} / {entry['bound']:g}" if entry else ""

    rows = [
        (
            figure.key,
            *(cell(judged[figure.key]) for judged in widths.values()),
            cell(every.get(figure.key)),
        )
        for figure in FIGURES
    ]
    interrupts = bench[INTERRUPTS][top]
    rows.append((INTERRUPTS, *(f"{interrupts[width]:g} / 61" for width in widths), ""))
    return tables.write(("figure", *(f"{width} bits" for width in widths), EVERY), rows)


def _speed_table(bench: Mapping[str, Any]) -> str:
    speeds = {
        (simulator, host.replace("_", " ")): figures
        for simulator, hosts in bench["simulation"].items()
        for host, figures in hosts.items()
    }
    slowest = min(figures["messages_per_second"] for figures in speeds.values())
    return tables.write(
        ("simulator", "host", "cycles/s", "messages/s", "ratio"),
        (
            (
                *names,
                f"{figures['cycles_per_second']:,.0f}",
                f"{figures['messages_per_second']:,.0f}",
                f"{figures['messages_per_second'] / slowest:.1f}",
            )
            for names, figures in speeds.items()
        ),
    )


def _area_row(entry: Mapping[str, Any]) -> tuple[object, ...]:
    return (
        entry["top"],
        entry["data_width"],
        entry["num_fifos"],
        "yes" if entry["dma"] else "no",
        entry["target"],
        entry["speed_grade"] or "",
        entry["lut4"],
        entry["ff"],
        entry["bram"],
        f"{entry['fmax_mhz']:.1f}" if entry["fmax_mhz"] else "",
    )


def proofs(document: str) -> set[str]:
    """Properties that the document calls proven."""
    return {row["property"] for row in tables.read(document, "Proofs")}


def cycles(document: str, top: str) -> dict[str, dict[str, float]]:
    """Each column of a top's cycles: figures by key, to six digits. ``64`` to ``512`` are of one
    FIFO; ``every`` is of eight at once, at 128 bits."""
    columns: dict[str, dict[str, float]] = {}
    for row in tables.read(document, f"Cycles, {top}"):
        for column, text in row.items():
            if column != "figure" and text:
                name = "every" if column == EVERY else column.removesuffix(" bits")
                columns.setdefault(name, {})[row["figure"]] = float(text.partition(" / ")[0])
    return columns


def areas(document: str) -> dict[SynthesisPoint, AreaFigures]:
    """What each configuration takes."""
    return {
        SynthesisPoint(
            top=row["top"],
            data_width=int(row["bits"]),
            num_fifos=int(row["FIFOs"]),
            dma=row["DMA"] == "yes",
            target=row["target"],
            speed_grade=int(row["speed"] or 0),
        ): AreaFigures(
            lut4=int(row["LUT"]),
            ff=int(row["FF"]),
            bram=int(row["block RAM"]),
            fmax_mhz=float(row["MHz"] or 0),
        )
        for row in tables.read(document, "Area and frequency")
    }
