# SPDX-License-Identifier: BSD-2-Clause
"""Prints the events of guest and server in the terminal as they arrive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from models.virtio import device_name

from ...build import BuildConfiguration
from ...console import print_plain
from ...printer import EventPrinter
from ...shown import styled
from .report import CAPABILITY_NAMES

CHAPTERS = {
    "enumeration": ("Enumeration", "Linux finds the function, sizes its BARs, enables MSI-X."),
    "registers": ("Registers", "VERSION and FEATURES in BAR0."),
    "accesses": ("Accesses", "Bytes, words, dwords and quadwords of BAR1, at every offset."),
    "rates": ("Rates", "Reads, and posted writes followed by a read."),
    "interrupts": ("Interrupts", "One PING at a time: each response raises one interrupt."),
    "discovery": ("Discovery", "The program requests the list of devices from the bus."),
    "entropy": ("Entropy", "Random bytes, into a pinned page of the guest."),
    "block": ("Disk", "Written with several requests at once, and read back."),
    "console": ("Console", "A line to the host, and one from the host."),
    "network": ("Network", "ARP finds the peer, which answers pings."),
    "shutdown": ("Shutdown", "Each device is reset; a last PING flushes remaining messages."),
}
"""Title and text of each step of the guest's program."""
SHOWN_MESSAGES = 4
"""Messages of a chapter that are printed; the trace has all of them."""
HIDDEN_KINDS = ("random", "step", "messages", "done", "failed")


class GuestReporter:
    """Prints the events of guest and server.

    Parameters
    ----------
    console
        The terminal.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._printer = EventPrinter(console)
        self._shown = 0
        self._omitted = 0

    def opening(self, configuration: BuildConfiguration, simulator: str) -> None:
        """Print the introduction."""
        self.console.print(
            Panel(
                "QEMU's machine has the gateware on its PCI bus: each access of the guest\n"
                "becomes TLPs, each MSI-X write an interrupt, and devices access virtqueues\n"
                "in guest memory as a bus master. Linux enumerates the function, then a\n"
                "program in guest user space drives it.",
                title="A Linux guest drives the gateware",
                subtitle=f"{simulator}, {configuration.num_fifos} FIFO(s), "
                f"{configuration.data_width} bits",
                expand=False,
            )
        )

    def note(self, text: str) -> None:
        """Print a line of text."""
        print_plain(self.console, text)

    def server(self, event: Mapping[str, Any]) -> None:
        """Print an event of the server."""
        kind = event.get("kind")
        if kind in ("message", "interrupt"):
            if self._shown < SHOWN_MESSAGES:
                self._printer.print_event(dict(event))
            else:
                self._omitted += kind == "message"
            self._shown += kind == "message"
        elif kind == "console":
            self._print_note(f"the console device received “{str(event['text']).strip()}”")
        elif kind == "error":
            self._print_note(f"server: {event.get('text')}")

    def guest(self, event: Mapping[str, Any]) -> None:
        """Print an event of the guest's program."""
        kind = str(event.get("event"))
        if kind == "step":
            self.end_chapter()
            step = str(event.get("step"))
            title, text = CHAPTERS.get(step, (step, ""))
            self._printer.print_event({"kind": "chapter", "title": title, "text": text})
        elif kind not in HIDDEN_KINDS:
            facts = {k: v for k, v in event.items() if k not in ("event", "step")}
            self._print_note(f"{kind}: {brief(kind, facts)}")

    def end_chapter(self) -> None:
        """Print the number of messages that were not shown."""
        if self._omitted:
            self._printer.print_event({"kind": "omitted", "messages": self._omitted})
        self._shown = self._omitted = 0

    def _print_note(self, text: str) -> None:
        self._printer.print_event({"kind": "note", "text": text})

    def figures(self, report: Mapping[str, Any]) -> None:
        """Print the table of figures."""
        self.console.print()
        table = Table(title="Totals", title_justify="left", show_header=False)
        table.add_column(style="bold")
        table.add_column(justify="right")
        for name, value in (
            ("Linux", report["kernel"]),
            ("QEMU", report["qemu"]),
            ("messages, driver to device", report["messages_to_device"]),
            ("messages, device to driver", report["messages_to_driver"]),
            ("interrupts counted by Linux", report["interrupts"]),
            ("MSI-X writes", report["msix_writes"]),
            ("random bytes", f"{report['rng_bytes']:,}"),
            ("reads of BAR1", f"{_formatted(report['mmio_reads_per_s'])}/s"),
            ("posted writes to BAR1", f"{_formatted(report['mmio_writes_per_s'])}/s"),
            ("booted after", f"{report['boot_s']:.1f} s"),
            ("wall time", f"{report['wall_s']:.1f} s"),
        ):
            table.add_row(name, styled(str(value)))
        self.console.print(table)


def brief(kind: str, facts: Mapping[str, Any]) -> str:
    """The facts of a guest's event in one line; accepts facts of any type and value."""
    try:
        return _describe(kind, facts)
    except (KeyError, TypeError, ValueError):
        return _list_facts(facts)


def _describe(kind: str, facts: Mapping[str, Any]) -> str:
    if kind == "function":
        ids = f"{facts['vendor_id']:04x}:{facts['device_id']:04x}"
        return f"{facts['address']} {ids} class {facts['class_code']:06x} rev {facts['revision']}"
    if kind == "bar":
        suffix = ", prefetchable" if facts["prefetchable"] else ""
        return f"{facts['bar']}, {facts['size'] // 1024} KiB at {facts['address']:#010x}{suffix}"
    if kind == "capability":
        name = CAPABILITY_NAMES.get(facts["id"], f"id {facts['id']:#04x}")
        suffix = f", {facts['vectors']} vector(s)" if "vectors" in facts else ""
        return f"{name} at {facts['offset']:#x}{suffix}"
    if kind == "device":
        name = device_name(facts["virtio_id"])
        return f"{facts['number']}, {name} (virtio id {facts['virtio_id']})"
    return _list_facts(facts)


def _list_facts(facts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {str(value).strip()}" for name, value in facts.items())


def _formatted(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)
