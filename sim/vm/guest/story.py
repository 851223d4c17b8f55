# SPDX-License-Identifier: BSD-2-Clause
"""Tells in the terminal what guest and server say, while they say it."""

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
    "accesses": ("Accesses", "Bytes, words, dwords and quadwords of BAR1, at every place."),
    "rates": ("Rates", "Reads, and posted writes with a read behind them."),
    "interrupts": ("Interrupts", "PINGs one by one: each answer makes one interrupt."),
    "discovery": ("Discovery", "The program asks the bus which devices there are."),
    "entropy": ("Entropy", "Random bytes, into a pinned page of the guest."),
    "block": ("Disk", "Written, several requests at once, and read back."),
    "console": ("Console", "A line to the host, and one back."),
    "network": ("Network", "ARP finds the peer, which answers pings."),
    "shutdown": ("Shutdown", "Each device is reset; a last PING finds nothing left behind it."),
}
"""Title and text of each step of the guest's program."""
SHOWN_MESSAGES = 4
"""Messages of a chapter that are shown; the trace has them all."""
NOT_SHOWN = ("random", "step", "messages", "done", "failed")


class GuestTeller:
    """Prints each event.

    Parameters
    ----------
    console
        Where to.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._printer = EventPrinter(console)
        self._shown = 0
        self._untold = 0

    def opening(self, configuration: BuildConfiguration, simulator: str) -> None:
        """What is about to happen."""
        self.console.print(
            Panel(
                "QEMU's machine has the gateware on its PCI bus: each access of the guest\n"
                "becomes TLPs, each MSI-X write an interrupt, and devices reach virtqueues\n"
                "in guest memory as a bus master. Linux enumerates the function, then a\n"
                "program in guest user space drives it.",
                title="A Linux guest drives the gateware",
                subtitle=f"{simulator}, {configuration.num_fifos} FIFO(s), "
                f"{configuration.data_width} bits",
                expand=False,
            )
        )

    def note(self, text: str) -> None:
        """A line of our own."""
        print_plain(self.console, text)

    def server(self, event: Mapping[str, Any]) -> None:
        """An event of the server's."""
        kind = event.get("kind")
        if kind in ("message", "interrupt"):
            if self._shown < SHOWN_MESSAGES:
                self._printer.tell(dict(event))
            else:
                self._untold += kind == "message"
            self._shown += kind == "message"
        elif kind == "console":
            self._note(f"the console device got “{str(event['text']).strip()}”")
        elif kind == "error":
            self._note(f"server: {event.get('text')}")

    def guest(self, event: Mapping[str, Any]) -> None:
        """An event of the guest's program."""
        kind = str(event.get("event"))
        if kind == "step":
            self.end_chapter()
            step = str(event.get("step"))
            title, text = CHAPTERS.get(step, (step, ""))
            self._printer.tell({"kind": "chapter", "title": title, "text": text})
        elif kind not in NOT_SHOWN:
            facts = {k: v for k, v in event.items() if k not in ("event", "step")}
            self._note(f"{kind}: {brief(kind, facts)}")

    def end_chapter(self) -> None:
        """Say how many messages were not shown."""
        if self._untold:
            self._printer.tell({"kind": "untold", "messages": self._untold})
        self._shown = self._untold = 0

    def _note(self, text: str) -> None:
        self._printer.tell({"kind": "note", "text": text})

    def figures(self, report: Mapping[str, Any]) -> None:
        """The table of what was measured."""
        self.console.print()
        table = Table(title="What happened", title_justify="left", show_header=False)
        table.add_column(style="bold")
        table.add_column(justify="right")
        for name, value in (
            ("Linux", report["kernel"]),
            ("QEMU", report["qemu"]),
            ("messages, driver to device", report["messages_to_device"]),
            ("messages, device to driver", report["messages_to_driver"]),
            ("interrupts that Linux counted", report["interrupts"]),
            ("MSI-X writes", report["msix_writes"]),
            ("random bytes", f"{report['rng_bytes']:,}"),
            ("reads of BAR1", f"{_counted(report['mmio_reads_per_s'])}/s"),
            ("posted writes to BAR1", f"{_counted(report['mmio_writes_per_s'])}/s"),
            ("booted after", f"{report['boot_s']:.1f} s"),
            ("wall time", f"{report['wall_s']:.1f} s"),
        ):
            table.add_row(name, styled(str(value)))
        self.console.print(table)


def brief(kind: str, facts: Mapping[str, Any]) -> str:
    """The facts of a guest's event in a line, whatever the guest put into them."""
    try:
        return _sentence(kind, facts)
    except (KeyError, TypeError, ValueError):
        return _listed(facts)


def _sentence(kind: str, facts: Mapping[str, Any]) -> str:
    if kind == "function":
        ids = f"{facts['vendor_id']:04x}:{facts['device_id']:04x}"
        return f"{facts['address']} {ids} class {facts['class_code']:06x} rev {facts['revision']}"
    if kind == "bar":
        more = ", prefetchable" if facts["prefetchable"] else ""
        return f"{facts['bar']}, {facts['size'] // 1024} KiB at {facts['address']:#010x}{more}"
    if kind == "capability":
        name = CAPABILITY_NAMES.get(facts["id"], f"id {facts['id']:#04x}")
        more = f", {facts['vectors']} vector(s)" if "vectors" in facts else ""
        return f"{name} at {facts['offset']:#x}{more}"
    if kind == "device":
        name = device_name(facts["virtio_id"])
        return f"{facts['number']}, {name} (virtio id {facts['virtio_id']})"
    return _listed(facts)


def _listed(facts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {str(value).strip()}" for name, value in facts.items())


def _counted(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)
