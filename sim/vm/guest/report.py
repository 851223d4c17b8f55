# SPDX-License-Identifier: BSD-2-Clause
"""The guest's report, checked against independent sources: models, host and server."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from models.config_space import config_space
from models.layout import layout_of
from models.shell import shell_of

from ...build import BuildConfiguration
from ...workload import PEER_MAC, PINGS, RNG_BYTES, RNG_REQUEST, TYPED
from .facts import CONSOLE_LINE

ACCESSES = sum(8 // width for width in (1, 2, 4, 8))
"""Number of ways to access a quadword: each width at each offset."""
CAPABILITY_NAMES = {0x01: "power management", 0x10: "PCI Express", 0x11: "MSI-X"}
CAPABILITIES_POINTER = 0x34
FAILED = "failed"


class GuestReport:
    """The events that the guest sent.

    Attributes
    ----------
    events
        All events, by kind.
    """

    def __init__(self) -> None:
        self.events: dict[str, list[dict[str, Any]]] = {}

    def add(self, event: Mapping[str, Any]) -> None:
        """Add an event."""
        facts = {name: value for name, value in event.items() if name != "event"}
        self.events.setdefault(str(event.get("event")), []).append(facts)

    def all(self, kind: str) -> list[dict[str, Any]]:
        """The facts of each event of this kind."""
        return self.events.get(kind, [])

    def fact(self, kind: str, name: str, default: Any = None) -> Any:
        """A fact of the last event of this kind."""
        found = self.all(kind)
        return found[-1].get(name, default) if found else default

    @property
    def failure(self) -> str | None:
        """Step and text of the guest's failure; ``None`` without a failure."""
        for event in self.all(FAILED):
            return f"{event.get('step')}: {event.get('text')}"
        return None

    @property
    def random_bytes(self) -> bytes:
        """The bytes that the guest read from the entropy device."""
        return b"".join(bytes.fromhex(event["hex"]) for event in self.all("random"))

    def enumerated(self) -> dict[str, Any]:
        """The PCI function as Linux enumerated it."""
        found = {name: value for name, value in self._function().items() if name != "step"}
        keys = ("bar", "size", "address", "prefetchable")
        found["bars"] = [{key: bar[key] for key in keys} for bar in self.all("bar")]
        found["capabilities"] = [
            {"name": CAPABILITY_NAMES.get(capability["id"], ""), **_without_step(capability)}
            for capability in self.all("capability")
        ]
        return found

    def _function(self) -> dict[str, Any]:
        found = self.all("function")
        return found[-1] if found else {}


@dataclass
class HostRecord:
    """The host's record of the run.

    Attributes
    ----------
    configuration
        The build of the endpoint.
    seed
        Seed of the random bytes.
    image, disk
        Data that the guest must write, and the disk's contents afterwards.
    printed
        Text received by the console device.
    server
        The server's report.
    problems
        Failures on the host.
    """

    configuration: BuildConfiguration
    seed: int
    image: bytes = b""
    disk: bytes = b""
    printed: str = ""
    server: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def random_bytes(self) -> bytes:
        """The bytes of the entropy device's source, read in the guest's request sizes."""
        source = random.Random(self.seed)
        return b"".join(source.randbytes(RNG_REQUEST) for _ in range(RNG_BYTES // RNG_REQUEST))

    @property
    def disk_ok(self) -> bool:
        """Whether the disk starts with the image."""
        return bool(self.image) and self.disk[: len(self.image)] == self.image


def make_report(guest: GuestReport, host: HostRecord) -> dict[str, Any]:
    """The figures under their stable names, and ``problems``; ``ok`` if there are none."""
    problems = list(problems_of(guest, host))
    return {
        "ok": not problems,
        "problems": problems,
        "kernel": guest.fact("booted", "kernel"),
        "enumerated": guest.enumerated(),
        "messages_to_device": guest.fact("messages", "messages_to_device", 0),
        "messages_to_driver": guest.fact("messages", "messages_to_driver", 0),
        "interrupts": guest.fact("messages", "interrupts", 0),
        "msix_writes": host.server.get("interrupts", 0),
        "rng_bytes": len(guest.random_bytes),
        "blk_ok": bool(guest.all("block")) and host.disk_ok,
        "console_ok": _console_ok(guest, host),
        "ping_ok": _ping_ok(guest),
        "ping_us": [ping["round_trip_us"] for ping in guest.all("ping")],
        "devices": [_without_step(device) for device in guest.all("device")],
        "mmio_reads_per_s": guest.fact("rates", "mmio_reads_per_s", 0),
        "mmio_writes_per_s": guest.fact("rates", "mmio_writes_per_s", 0),
        "server": host.server,
        "seed": host.seed,
    }


def problems_of(guest: GuestReport, host: HostRecord) -> Iterator[str]:
    """Yield a line for each failed check; of a guest that did not finish, only the reason."""
    yield from host.problems
    if guest.failure is not None:
        yield guest.failure
        return
    if not guest.all("done"):
        if not host.problems:
            yield "the guest ended before its program did"
        return
    yield from _enumeration_problems(guest, host.configuration)
    if guest.fact("accesses", "accesses") != ACCESSES:
        yield f"accesses tried are {guest.fact('accesses', 'accesses')}: must be {ACCESSES}"
    if guest.random_bytes != host.random_bytes():
        yield "the random bytes differ from the source's"
    if not guest.all("block") or not host.disk_ok:
        yield "the disk does not contain the image"
    if not _console_ok(guest, host):
        yield "a console line was lost or changed"
    if not _ping_ok(guest):
        yield "a ping failed"
    yield from _count_problems(guest, host)


def _enumeration_problems(guest: GuestReport, configuration: BuildConfiguration) -> Iterator[str]:
    shell, layout = shell_of(configuration.shell), layout_of(configuration.layout)
    found = guest.enumerated()
    for name in (
        *("vendor_id", "device_id", "revision", "class_code"),
        *("subsystem_vendor_id", "subsystem_id"),
    ):
        if found.get(name) != getattr(shell, name):
            yield f"{name} is {found.get(name)}: must be {getattr(shell, name)}"
    bars = {bar["bar"]: (bar["size"], bar["prefetchable"]) for bar in found["bars"]}
    sizes = shell.bar_sizes(configuration.num_fifos, layout)
    expected = {bar: (size, bar == shell.fifo_bar) for bar, size in sizes.items()}
    if bars != expected:
        yield f"BARs (size, prefetchable) are {bars}: must be {expected}"
    offsets = {item["id"]: item["offset"] for item in found["capabilities"]}
    if offsets != (expected_capabilities := capabilities_of(configuration)):
        yield f"capabilities (id: offset) are {offsets}: must be {expected_capabilities}"
    for msix in found["capabilities"]:
        if "vectors" in msix:
            yield from _msix_problems(msix, configuration)


def _msix_problems(msix: Mapping[str, Any], configuration: BuildConfiguration) -> Iterator[str]:
    shell = shell_of(configuration.shell)
    expected = {
        "vectors": shell.num_vectors(configuration.num_fifos),
        "enabled": True,
        "table_bar": shell.msix_bar,
        "table_offset": shell.msix_table_offset,
        "pba_bar": shell.msix_bar,
        "pba_offset": shell.msix_pba_offset,
    }
    for name, value in expected.items():
        if msix.get(name) != value:
            yield f"MSI-X {name} is {msix.get(name)}: must be {value}"


def capabilities_of(configuration: BuildConfiguration) -> dict[int, int]:
    """Id and offset of each capability that the endpoint has."""
    space = config_space(
        shell_of(configuration.shell), configuration.num_fifos, layout_of(configuration.layout)
    )
    found: dict[int, int] = {}
    at = space[CAPABILITIES_POINTER].reset & 0xFF
    while at and at in space:
        found[space[at].reset & 0xFF] = at
        at = space[at].reset >> 8 & 0xFF
    return found


def _count_problems(guest: GuestReport, host: HostRecord) -> Iterator[str]:
    for name in ("messages_to_device", "messages_to_driver"):
        guest_count, server = guest.fact("messages", name), host.server.get(name)
        if guest_count is None or guest_count != server:
            yield f"{name}: the guest counted {guest_count}, the server {server}"
    if guest.fact("messages", "unclaimed") != 0:
        yield f"{guest.fact('messages', 'unclaimed')} messages were not expected"
    if not guest.fact("messages", "used_events"):
        yield "no EVENT_USED arrived"
    pinged = {pings["fifo"]: pings for pings in guest.all("pings")}
    if sorted(pinged) != [*range(host.configuration.num_fifos)]:
        yield f"FIFOs tried are {sorted(pinged)}: must be all {host.configuration.num_fifos}"
    for fifo, pings in pinged.items():
        if pings["pings"] != pings["interrupts"]:
            yield (
                f"FIFO {fifo}: {pings['pings']} single responses raised {pings['interrupts']} "
                f"interrupts of vector {pings['vector']}"
            )
    # An interrupt that arrives before the previous one is taken merges with it.
    counted = guest.fact("messages", "interrupts", 0)
    sent = host.server.get("interrupts", 0)
    if not 0 < counted <= sent:
        yield f"the module counted {counted} interrupts, the server {sent} MSI-X writes"


def _console_ok(guest: GuestReport, host: HostRecord) -> bool:
    return CONSOLE_LINE in host.printed and guest.fact("console", "text") == TYPED.decode()


def _ping_ok(guest: GuestReport) -> bool:
    sequences = [ping["sequence"] for ping in guest.all("ping")]
    return sequences == [*range(1, PINGS + 1)] and guest.fact("peer", "hex") == PEER_MAC.hex()


def _without_step(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if name != "step"}
