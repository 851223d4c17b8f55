# SPDX-License-Identifier: BSD-2-Clause
"""Rates of guest accesses: served by the gateware on each engine, and by the same server from
memory.

The client is :class:`~sim.vm.vfio_user.client.Client`, so that only the server and the function
behind it are measured. QEMU adds to that: ``make guest`` measures the rates that a guest sees.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from models import config_space as space
from models.layout import SPSC_PAGES
from models.shell import AMP_PCI

from ...build import BuildConfiguration
from ...vm.bridge.files import BlockingReadiness, run_alone
from ...vm.bridge.stub import MemoryFunction
from ...vm.serve.server import COCOTB, NATIVE, Server
from ...vm.vfio_user import wire
from ...vm.vfio_user.client import Client
from ...vm.vfio_user.server import VfioUserServer, listening

READS, WRITES = 1000, 4000
REPETITIONS = 3
"""Measurements, of which the best counts: other processes load the machine."""
FAST_REPETITIONS = 12
"""Measurements from memory and from the native engine, which take a fraction of a second."""
QUADWORD = 8
MIN_RATIO = 0.04
"""Limit for cocotb on Verilator, as a fraction of the rate from memory: a ratio does not depend on
the machine's speed."""
IDLE_S = 1.0
"""Time in which an idle server's processor time is measured."""

Rates = dict[str, float]


def measure_bridge(simulators: list[str], folder: Path) -> dict[str, Rates]:
    """Accesses per second: from ``memory``, from the ``native`` engine, and from cocotb on each
    simulator.

    All but the first have ``reads_ratio`` and ``writes_ratio``, the fraction of the rate from
    memory; the native one has ``idle``, the share of a processor that it takes without accesses.
    """
    with tempfile.TemporaryDirectory(prefix="amp-bench-") as name:
        path = Path(name) / "socket"
        with _memory_server(path):
            rates = {"memory": _best_rates(path, FAST_REPETITIONS)}
        for source, simulator, engine in (
            *([("native", "verilator", NATIVE)] if "verilator" in simulators else []),
            *((simulator, simulator, COCOTB) for simulator in simulators),
        ):
            served = Server(
                BuildConfiguration(simulator=simulator),
                path,
                folder=folder / f"bridge-{source}",
                engine=engine,
            )
            with served:
                is_native = engine == NATIVE
                measured = _best_rates(path, FAST_REPETITIONS if is_native else REPETITIONS)
                if is_native:
                    measured["idle"] = _idle_share(served)
            served.check()
            for kind in ("reads", "writes"):
                ratio = measured[f"{kind}_per_s"] / rates["memory"][f"{kind}_per_s"]
                measured[f"{kind}_ratio"] = round(ratio, 3)
            rates[source] = measured
    return rates


def missed_limits(rates: dict[str, Rates]) -> Iterator[str]:
    """Yield a line for each rate below its limit."""
    for kind in ("reads_ratio", "writes_ratio"):
        if "verilator" in rates and rates["verilator"][kind] < MIN_RATIO:
            ratio = rates["verilator"][kind]
            yield f"bridge on verilator: {kind} is {ratio:g}, must reach {MIN_RATIO:g}"


def _idle_share(served: Server) -> float:
    """Share of a processor that the process of ``served`` takes."""
    before = _processor_seconds(served.pid)
    time.sleep(IDLE_S)
    return round((_processor_seconds(served.pid) - before) / IDLE_S, 3)


def _processor_seconds(pid: int) -> float:
    # Behind the name, which may have spaces: user and system time are fields 14 and 15 of all.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _best_rates(path: Path, repetitions: int) -> Rates:
    measured = [_measure_rates(path) for _ in range(repetitions)]
    return {key: max(rates[key] for rates in measured) for key in measured[0]}


def _measure_rates(path: Path) -> Rates:
    bar, slots_offset = AMP_PCI.fifo_bar, SPSC_PAGES.queue.slots_offset
    with Client(path) as client:
        client.write32(wire.CONFIG_REGION, space.COMMAND, space.MEMORY_SPACE_ENABLE.mask)
        started = time.perf_counter()
        for _ in range(READS):
            client.read(bar, slots_offset, 4)
        reads = READS / (time.perf_counter() - started)

        started = time.perf_counter()
        for number in range(WRITES):
            offset = slots_offset + QUADWORD * (number % 8)
            client.write(bar, offset, number.to_bytes(QUADWORD, "little"), posted=True)
        # Posted: the completion of a later read shows that they are done.
        last_quadword = client.read(bar, slots_offset + QUADWORD * ((WRITES - 1) % 8), QUADWORD)
        writes = WRITES / (time.perf_counter() - started)
        assert int.from_bytes(last_quadword, "little") == WRITES - 1, "the last write is missing"
    return {"reads_per_s": round(reads), "writes_per_s": round(writes)}


@contextmanager
def _memory_server(path: Path) -> Iterator[None]:
    """Run the server on plain memory in another process, as the simulation's server does."""
    with listening(path) as listener:
        process = multiprocessing.get_context("fork").Process(
            target=_serve_memory, args=(listener,), daemon=True
        )
        process.start()
        try:
            yield
        finally:
            process.terminate()
            process.join()


def _serve_memory(listener: Any) -> None:
    function = MemoryFunction(AMP_PCI.bar_sizes(1, SPSC_PAGES))
    with contextlib.suppress(KeyboardInterrupt):
        run_alone(VfioUserServer(listener, function, BlockingReadiness()).run())
