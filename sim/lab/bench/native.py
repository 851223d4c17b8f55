# SPDX-License-Identifier: BSD-2-Clause
"""Speed of the native engine as ratios, which do not depend on the machine."""

from __future__ import annotations

import cProfile
import pstats
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any

from models.devices import VirtioDevice

from ...build import BuildConfiguration
from ...native.system import NativeBench, NativeSystem
from . import programs
from .programs import Figures

REPETITIONS = 3
"""Measurements, of which the best counts: other processes load the machine."""

EXCHANGES = 1000
"""Messages in each direction: a measurement of fewer ends before Python is at its speed."""

LIMITS = {
    "mmio_reads_of_memory": 0.4,
    "posted_writes_of_memory": 0.3,
    "messages_of_cocotb": 10,
    "cycles_of_cocotb": 8,
    "block_bytes_of_cocotb": 8,
}
"""Least value of each ratio. The first two are of a client's accesses, to the rate of the same
server out of memory; the others are to the rate of the thin host in cocotb."""
MOST_IDLE = 0.02
"""Largest share of a processor that a server without a client's accesses takes."""

PARTS = (
    ("sim/native/endpoint", "gateware"),
    ("sim/native", "engine"),
    ("testbench/tlp/monitor", "monitor"),
    ("testbench/tlp/rules", "monitor"),
    ("testbench/tlp/settings", "monitor"),
    ("testbench/tlp/outstanding", "monitor"),
    ("testbench/tlp", "codec of TLPs"),
    ("testbench/host", "host"),
    ("testbench/trace", "trace"),
    ("models/messages", "codec of messages"),
    ("models/devices", "devices"),
    ("models/driver", "drivers"),
    ("models", "queues and transport"),
)
"""Name of the part that a source file belongs to, by the beginning of its path: the first match."""


def measure_native() -> dict[str, Figures]:
    """Rates of the native engine: ``messages``, ``dma`` and ``blocks``, as in ``programs``."""
    configuration = BuildConfiguration()

    def messages() -> Figures:
        with NativeBench(configuration) as bench:
            return _run(bench, lambda: programs.exchange_messages(bench, bench.port, EXCHANGES))

    def dma() -> Figures:
        with NativeBench(configuration) as bench:
            return _run(bench, lambda: programs.move_data(bench))

    def blocks() -> Figures:
        with NativeSystem(_devices(), configuration) as system:
            return _run(system, lambda: programs.transfer_blocks(system))

    return {
        measurement.__name__: _best([measurement() for _ in range(REPETITIONS)])
        for measurement in (messages, dma, blocks)
    }


def profile_blocks() -> dict[str, float]:
    """Share of the time of a block request that each part of :data:`PARTS` takes."""
    profile = cProfile.Profile(time.perf_counter)
    with NativeSystem(_devices(), BuildConfiguration()) as system:
        _run(system, lambda: programs.transfer_blocks(system), profile)
    seconds: dict[str, float] = defaultdict(float)
    statistics: Any = pstats.Stats(profile)
    for (file, _, _), (_, _, own, _, callers) in statistics.stats.items():
        if file != "~":
            seconds[_part(file)] += own
            continue
        # A function in C counts for its caller.
        for (caller, _, _), (_, _, share, _) in callers.items():
            seconds[_part(caller)] += share
    total = sum(seconds.values())
    shares = {part: round(own / total, 3) for part, own in seconds.items()}
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def ratios(
    native: Mapping[str, Figures], cocotb: Mapping[str, Figures], bridge: Mapping[str, Figures]
) -> Figures:
    """The ratios of :data:`LIMITS`.

    Parameters
    ----------
    native
        As of :func:`measure_native`.
    cocotb
        The same figures of the thin host in cocotb: ``thin``, ``thin_dma`` and ``thin_blocks``.
    bridge
        As of :func:`~sim.lab.bench.bridge.measure_bridge`.
    """
    return {
        "mmio_reads_of_memory": bridge["native"]["reads_ratio"],
        "posted_writes_of_memory": bridge["native"]["writes_ratio"],
        **{
            name: round(native[program][rate] / cocotb[thin][rate], 1)
            for name, program, thin, rate in (
                ("messages_of_cocotb", "messages", "thin", "messages_per_second"),
                ("cycles_of_cocotb", "dma", "thin_dma", "cycles_per_second"),
                ("block_bytes_of_cocotb", "blocks", "thin_blocks", "bytes_per_second"),
            )
        },
    }


def missed_limits(native: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each ratio of the report below its limit, and for a server that is not
    idle."""
    for name, limit in LIMITS.items():
        if native[name] < limit:
            yield f"native engine: {name} is {native[name]:g}, must reach {limit:g}"
    idle = native["idle_processor_share"]
    if idle > MOST_IDLE:
        yield f"native engine: an idle server takes {idle:g} of a processor, at most {MOST_IDLE:g}"


def _run(
    bench: NativeBench,
    program: Callable[[], Coroutine[Any, Any, Figures]],
    profile: cProfile.Profile | None = None,
) -> Figures:
    async def started() -> Figures:
        await bench.start()
        if profile is not None:
            profile.enable()
        figures = await program()
        if profile is not None:
            profile.disable()
        return figures

    figures: Figures = bench.run(started())
    return figures


def _best(repetitions: list[Figures]) -> Figures:
    return {key: max(figures[key] for figures in repetitions) for key in repetitions[0]}


def _devices() -> list[dict[int, VirtioDevice]]:
    return [dict(devices) for devices in programs.block_devices()]


def _part(file: str) -> str:
    root = str(Path(__file__).resolve().parents[3]) + "/"
    path = file.removeprefix(root)
    return next((name for start, name in PARTS if path.startswith(start)), "the rest")
