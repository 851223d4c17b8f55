# SPDX-License-Identifier: BSD-2-Clause
"""Prints the demo's events in the terminal while the simulation runs."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from models.shell import AMP_PCI

from ...console import list_files, print_plain
from ...printer import EventPrinter
from ...shown import styled

POLL_S = 0.05


def follow(path: Path, running: Callable[[], bool]) -> Iterator[dict[str, Any]]:
    """Yield the events of ``path`` as they are written, until ``running()`` is false."""
    position, incomplete = 0, ""
    while True:
        is_running = running()
        if path.exists():
            with path.open(encoding="utf-8") as file:
                file.seek(position)
                incomplete += file.read()
                position = file.tell()
            *lines, incomplete = incomplete.split("\n")
            yield from map(json.loads, lines)
        if not is_running:
            return
        time.sleep(POLL_S)


class Reporter(EventPrinter):
    """Prints the demo's events, its introduction and its tables.

    Attributes
    ----------
    figures
        The scenario's figures; ``None`` until it has passed.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self.figures: dict[str, Any] | None = None
        self._work_rows: list[tuple[str, int, int, int, int, int, str]] = []

    def opening(self, simulator: str, num_fifos: int, data_width: int) -> None:
        """Print the introduction."""
        self._several = num_fifos > 1
        self.console.print(
            Panel(
                "virtio-msg carries virtio in messages instead of trapped register accesses.\n"
                "Here a driver on a PCIe host brings up virtio devices behind the AMP PCI\n"
                "endpoint: it stores a message in a FIFO in BAR1 and rings a doorbell in\n"
                "BAR0. The endpoint passes the message to the device side, stores the\n"
                "response in another FIFO, and interrupts the host by MSI-X.\n"
                "The endpoint is the gateware of hdl/, simulated cycle by cycle.",
                title="virtio-msg-amp",
                subtitle=f"{simulator}, {num_fifos} FIFO(s), {data_width} bits",
                expand=False,
            )
        )

    def _enumerated(
        self,
        vendor_id: int,
        device_id: int,
        class_code: int,
        pcie_id: str,
        bars: list[dict[str, Any]],
        msix_vectors: int,
    ) -> None:
        self._line(
            None,
            (f"{pcie_id}  {vendor_id:04x}:{device_id:04x}", "bold"),
            (f"class {class_code:06x}, {msix_vectors} MSI-X vector(s)", ""),
        )
        contents = {
            AMP_PCI.register_bar: "registers, doorbells",
            AMP_PCI.fifo_bar: "FIFO RAM",
            AMP_PCI.msix_bar: "MSI-X table, pending bits",
        }
        for bar in bars:
            kind = "prefetchable" if bar["prefetchable"] else ""
            self._line(
                None,
                (f"BAR{bar['bar']}  {bar['size'] // 1024:4} KiB at {bar['address']:#010x}", ""),
                (f"{contents[bar['bar']]} {kind}", "dim"),
            )

    def _device(self, fifo: int, dev_num: int, device_id: int, name: str, max_vqs: int) -> None:
        self._line(
            None, (f"device {dev_num}: {name} (virtio id {device_id}), {max_vqs} queue(s)", "bold")
        )

    def _work(
        self,
        fifo: int,
        device: str,
        outcome: str,
        requests: int,
        bytes_out: int,
        bytes_in: int,
        interrupts: int,
        cycles: int,
    ) -> None:
        self._line(None, (outcome, "bold"))
        per_request = f"{cycles / requests:,.0f}" if requests else "-"
        self._line(
            None,
            (
                f"{requests} requests, {bytes_out:,} bytes out, {bytes_in:,} in, {interrupts} "
                f"interrupts, {cycles:,} cycles, {per_request} per request",
                "",
            ),
        )
        where = f"{device} {fifo}" if self._several else device
        self._work_rows.append(
            (where, requests, bytes_out, bytes_in, interrupts, cycles, per_request)
        )

    def _figures(self, **figures: Any) -> None:
        self.figures = figures

    def closing(self, report: dict[str, Any], files: dict[str, Path | None]) -> None:
        """Print the tables of figures and the files' paths."""
        self.console.print()
        work_table = Table(title="Work of the devices", title_justify="left")
        work_table.add_column("device")
        for column in ("requests", "bytes out", "bytes in", "interrupts", "cycles", "per request"):
            work_table.add_column(column, justify="right")
        for name, *counts, per_request in self._work_rows:
            work_table.add_row(styled(name), *(f"{count:,}" for count in counts), per_request)
        self.console.print(work_table)
        totals_table = Table(title="Totals", title_justify="left", show_header=False)
        totals_table.add_column(style="bold")
        totals_table.add_column(justify="right")
        rows = (
            ("messages, driver to device", report["messages_to_device"]),
            ("messages, device to driver", report["messages_to_driver"]),
            ("interrupts", report["interrupts"]),
            ("bytes that devices read from host memory", f"{report['dma_read_bytes']:,}"),
            ("bytes that devices wrote to host memory", f"{report['dma_write_bytes']:,}"),
            ("TLPs checked by the PCIe monitor", report["tlps_checked"]),
            ("simulated time", f"{report['sim_time_ns'] / 1000:,.3f} µs"),
            ("cycles", f"{report['cycles']:,}"),
            ("wall time", f"{report['wall_s']:.1f} s"),
        )
        for name, value in rows:
            totals_table.add_row(name, str(value))
        self.console.print(totals_table)
        list_files(self.console, files)
        waves = files.get("waves")
        if waves is not None:
            print_plain(self.console, f"{'to open them':>14}  gtkwave {os.path.relpath(waves)}")
