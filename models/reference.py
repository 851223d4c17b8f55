# SPDX-License-Identifier: BSD-2-Clause
"""Markdown reference page of shell, layout, configuration space, counters and messages.

``python -m models reference`` prints the page. ``docs/reference.md`` is its output; a test compares
the two.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .config_space import config_space
from .counters import COUNTERS
from .layout import SPSC_PAGES, SharedLayout
from .messages import REVISIONS, Dialect, MessageKind, MessageLayout
from .shell import AMP_PCI, MAX_FIFOS, MSIX_ENTRY_SIZE, PciShell


def _table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> Iterator[str]:
    columns = list(header)
    yield "| " + " | ".join(columns) + " |"
    yield "|" + " --- |" * len(columns)
    for row in rows:
        yield "| " + " | ".join(str(cell) for cell in row) + " |"
    yield ""


def _shell(shell: PciShell, layout: SharedLayout) -> Iterator[str]:
    yield f"## PCI shell `{shell.name}`\n"
    yield (
        f"Vendor {shell.vendor_id:#06x}, device {shell.device_id:#06x}, subsystem "
        f"{shell.subsystem_vendor_id:#06x}:{shell.subsystem_id:#06x}, revision {shell.revision}, "
        f"class {shell.class_code:#08x}. 1 to {MAX_FIFOS} FIFOs.\n"
    )
    first, most = shell.bar_sizes(1, layout), shell.bar_sizes(MAX_FIFOS, layout)
    contents = {
        shell.register_bar: "registers and doorbells",
        shell.fifo_bar: "RAM with the FIFOs, prefetchable",
        shell.msix_bar: "MSI-X table and pending bits",
    }
    rows = []
    for bar in sorted(first):
        size = (
            f"{first[bar]:#x}" if first[bar] == most[bar] else f"{first[bar]:#x} to {most[bar]:#x}"
        )
        rows.append((bar, size, f"32-bit memory: {contents[bar]}"))
    yield from _table(("BAR", "bytes", "kind and contents"), rows)

    yield f"### BAR{shell.register_bar}\n"
    yield from _table(
        ("offset", "register", "access"),
        (
            (f"{shell.version_offset:#04x}", "VERSION", f"reads {shell.version:#06x}"),
            (f"{shell.features_offset:#04x}", "FEATURES", f"reads {shell.features:#x}"),
            (
                f"{shell.notify_offset:#04x} + {shell.notify_stride} n",
                "NOTIFYn",
                "a write to any of its bytes, of any value, rings the doorbell of FIFO n; reads 0",
            ),
            ("others", "", "reads 0, ignores writes"),
        ),
    )
    yield f"### BAR{shell.msix_bar}\n"
    yield from _table(
        ("offset", "contents"),
        (
            (
                f"{shell.msix_table_offset:#05x} + {MSIX_ENTRY_SIZE} n",
                "MSI-X table entry n: address, upper address, data, vector control (masked)",
            ),
            (f"{shell.msix_pba_offset:#05x}", "pending bits"),
        ),
    )


def _layout(shell: PciShell, layout: SharedLayout) -> Iterator[str]:
    queue = layout.queue
    others = "reads 0, ignores writes" if layout.reserved_reads_zero else "RAM without a function"
    yield f"## Shared area `{layout.name}`: BAR{shell.fifo_bar}\n"
    yield from _table(
        ("offset", "contents"),
        (
            (
                f"{layout.fifo_stride:#x} n + {layout.driver_queue:#x}",
                "driver queue of FIFO n, filled by the driver",
            ),
            (
                f"{layout.fifo_stride:#x} n + {layout.device_queue:#x}",
                "device queue of FIFO n, filled by the device",
            ),
            ("others", others),
        ),
    )
    yield "### A queue\n"
    yield from _table(
        ("offset", "contents"),
        (
            (f"{queue.head_offset:#x}", "head, 32 bits, little-endian; the producer advances it"),
            (f"{queue.tail_offset:#x}", "tail, 32 bits, little-endian; the consumer advances it"),
            (
                f"{queue.slots_offset:#x} + {queue.slot_size} k",
                f"slot k of {queue.capacity}, {queue.slot_size} bytes",
            ),
        ),
    )
    yield (
        f"A queue is empty when head equals tail and full when the index after head is tail, so "
        f"{queue.capacity - 1} messages fit. An index of {queue.capacity} or more is taken modulo "
        f"{queue.capacity}.\n"
    )


def _config(shell: PciShell, layout: SharedLayout) -> Iterator[str]:
    yield "## Configuration space, with one FIFO\n"
    yield "Dwords that are not listed read 0 and ignore writes.\n"
    yield from _table(
        ("offset", "name", "reset", "writable", "write 1 clears"),
        (
            (
                f"{offset:#05x}",
                register.name,
                f"{register.reset:#010x}",
                f"{register.writable:#010x}" if register.writable else "",
                f"{register.write_one_clears:#010x}" if register.write_one_clears else "",
            )
            for offset, register in config_space(shell, 1, layout).items()
        ),
    )


def _counters() -> Iterator[str]:
    yield "## Counters\n"
    yield (
        "Outputs of the device side, on both tops. They wrap. `rst` clears them; a function-level "
        "reset does not.\n"
    )
    yield from _table(
        ("port", "bits", "counts"),
        ((f"`{counter.port}`", counter.bits, counter.counts) for counter in COUNTERS),
    )


def _fields(message: MessageLayout) -> str:
    parts = []
    for field in message.fields:
        bits = "" if field.size * 8 == field.bits else f", bits {field.lsb}+{field.bits}"
        parts.append((field.offset, f"{field.offset}:{field.size * 8} {field.name}{bits}"))
    for array in message.arrays:
        parts.append(
            (array.offset, f"{array.offset}:{array.element_bits}\\[{array.count}\\] {array.name}")
        )
    return ", ".join(text for _, text in sorted(parts, key=lambda part: part[0]))


def _varies(message: MessageLayout) -> bool:
    return any(isinstance(array.count, str) for array in message.arrays)


def _messages(dialect: Dialect) -> Iterator[str]:
    yield f"## Messages, revision `{dialect.revision}`\n"
    yield (
        f"At most {dialect.max_size} bytes. Header: 0:8 type (bit 0 response, bit 1 bus message), "
        "1:8 id, 2:16 device number, 4:16 token, 6:16 size. Fields are offset:bits, "
        "little-endian.\n"
    )
    order = list(MessageKind)
    messages = sorted(dialect.messages, key=lambda m: (m.bus, m.msg_id, order.index(m.kind)))
    yield from _table(
        ("id", "message", "kind", "bytes", "fields"),
        (
            (
                f"{message.msg_id:#04x}",
                message.name,
                str(message.kind),
                f"{message.min_size} up" if _varies(message) else message.min_size,
                _fields(message),
            )
            for message in messages
        ),
    )


def reference(shell: PciShell = AMP_PCI, layout: SharedLayout = SPSC_PAGES) -> str:
    """Render the whole page."""
    lines = [
        "# Reference",
        "",
        "Generated by `python -m models reference` from the data that gateware, models and "
        "testbench read. Do not edit.",
        "",
        *_shell(shell, layout),
        *_layout(shell, layout),
        *_config(shell, layout),
        *_counters(),
    ]
    for dialect in REVISIONS.values():
        lines += _messages(dialect)
    return "\n".join(lines).rstrip() + "\n"
