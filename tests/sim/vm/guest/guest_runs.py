# SPDX-License-Identifier: BSD-2-Clause
"""Events of a guest and record of the host, for a run without faults."""

from __future__ import annotations

from typing import Any

from models.config_space import config_space
from models.layout import SPSC_PAGES
from models.shell import AMP_PCI
from sim.build import BuildConfiguration
from sim.vm.guest.facts import CONSOLE_LINE
from sim.vm.guest.report import ACCESSES, GuestReport, HostRecord
from sim.workload import PEER_MAC, PINGS, RNG_REQUEST, TYPED

CONFIGURATION = BuildConfiguration(num_fifos=2)
SEED = 5
Event = dict[str, Any]


def good_events() -> list[Event]:
    """The guest's events."""
    source = HostRecord(CONFIGURATION, SEED).random_bytes()
    events: list[Event] = [
        {"event": "booted", "step": "boot", "kernel": "6.1"},
        {
            "event": "function",
            "step": "enumeration",
            "address": "0000:00:01.0",
            "vendor_id": 0x10EE,
            "device_id": 0x9039,
            "revision": 1,
            "class_code": 0x088000,
            "subsystem_vendor_id": 0x10EE,
            "subsystem_id": 0x9039,
        },
        *({"event": "bar", **bar} for bar in _bars()),
        *({"event": "capability", **capability} for capability in _capabilities()),
        {"event": "accesses", "accesses": ACCESSES},
        {"event": "rates", "mmio_reads_per_s": 2000, "mmio_writes_per_s": 9000},
        *(
            {"event": "pings", "fifo": fifo, "vector": fifo, "pings": 16, "interrupts": 16}
            for fifo in (1, 0)
        ),
        {"event": "device", "number": 0, "virtio_id": 4},
        *(
            {"event": "random", "hex": source[at : at + RNG_REQUEST].hex()}
            for at in range(0, len(source), RNG_REQUEST)
        ),
        {"event": "block", "sectors": 64, "bytes": 4096},
        {"event": "console", "text": TYPED.decode()},
        {"event": "peer", "hex": PEER_MAC.hex()},
        *({"event": "ping", "sequence": k + 1, "round_trip_us": 9} for k in range(PINGS)),
        {
            "event": "messages",
            "messages_to_device": 130,
            "messages_to_driver": 129,
            "used_events": 12,
            "unclaimed": 0,
            "interrupts": 128,
        },
        {"event": "done", "step": "shutdown"},
    ]
    return events


def good_record() -> HostRecord:
    """The host's record."""
    return HostRecord(
        CONFIGURATION,
        SEED,
        image=b"image",
        disk=b"image" + bytes(100),
        printed=CONSOLE_LINE,
        server={"messages_to_device": 130, "messages_to_driver": 129, "interrupts": 129},
    )


def guest_report(events: list[Event]) -> GuestReport:
    """A report of these events."""
    result = GuestReport()
    for event in events:
        result.add(event)
    return result


def _bars() -> list[Event]:
    sizes = AMP_PCI.bar_sizes(CONFIGURATION.num_fifos, SPSC_PAGES)
    return [
        {"bar": bar, "size": size, "address": size * 4, "prefetchable": bar == AMP_PCI.fifo_bar}
        for bar, size in sizes.items()
    ]


def _capabilities() -> list[Event]:
    """Power management, MSI-X and PCI Express, written out, at the reference's offsets."""
    assert config_space(AMP_PCI, 2, SPSC_PAGES)[0x34].reset == 0x40
    msix = {"vectors": 2, "enabled": True, "table_bar": 2, "table_offset": 0}
    return [
        {"id": 1, "offset": 0x40},
        {"id": 17, "offset": 0x50, **msix, "pba_bar": 2, "pba_offset": 0x800},
        {"id": 16, "offset": 0x60},
    ]
