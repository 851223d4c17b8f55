# SPDX-License-Identifier: BSD-2-Clause
"""The figures: meaning, bound for each width, and limit that must be reached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from models.layout import SPSC_PAGES

__all__ = ["FIGURES", "Figure"]

SLOT_BYTES = SPSC_PAGES.queue.slot_size


def _slot_beats(width: int) -> float:
    return SLOT_BYTES * 8 // width


def _constant(cycles: float) -> Callable[[int], float]:
    return lambda width: cycles


def _bytes(width: int) -> float:
    return width // 8


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure of the report.

    Attributes
    ----------
    key
        Name in the report.
    meaning
        Description of the measurement.
    bound
        Best value that any design can reach, from the width in bits; cycles, or bytes per cycle.
    why
        Reason for the bound.
    slack
        Of a rate: allowed deviation from the bound, as a fraction of it.
    more_is_better
        Bytes per cycle, not cycles.
    latency
        Of a latency: limit in cycles at 128 bits. Its distance from the bound is the same at other
        widths.
    """

    key: str
    meaning: str
    bound: Callable[[int], float]
    why: str
    slack: float = 0.0
    more_is_better: bool = False
    latency: float | None = None

    def limit(self, width: int) -> float:
        """The limit at ``width`` bits."""
        if self.latency is not None:
            return self.latency + self.bound(width) - self.bound(128)
        if self.more_is_better:
            return self.bound(width) * (1 - self.slack)
        return self.bound(width) * (1 + self.slack)

    def reached(self, value: float, width: int) -> bool:
        """Whether ``value`` is within the limit at ``width`` bits."""
        limit = self.limit(width)
        return value >= limit if self.more_is_better else value <= limit


FIGURES = (
    Figure(
        key="pop_cycles_per_message",
        meaning="61 messages in the driver queue, one doorbell, device always ready",
        bound=_slot_beats,
        why="a slot's beats",
        slack=0.05,
    ),
    Figure(
        key="push_cycles_per_message",
        meaning="61 messages from the device into an empty device queue, an interrupt each",
        bound=_slot_beats,
        why="a slot's beats",
        slack=0.05,
    ),
    Figure(
        key="both_cycles_per_message",
        meaning="both at once, per direction",
        bound=_slot_beats,
        why="a slot's beats; the directions share nothing but the BAR",
        slack=0.1,
    ),
    Figure(
        key="host_cycles_per_message",
        meaning="1,000 messages: slot write, head write and doorbell each, TLPs back to back",
        bound=lambda width: _slot_beats(width) + 2,
        why="a slot's beats, and one each for head and doorbell",
        slack=0.05,
    ),
    Figure(
        key="doorbell_to_stream_cycles",
        meaning="doorbell TLP in to first beat out",
        bound=_constant(3),
        why="registers on the way in, for the doorbell head, and behind the RAM",
        latency=6,
    ),
    Figure(
        key="stream_to_msix_cycles",
        meaning="last beat in to MSI-X TLP valid",
        bound=_constant(2),
        why="the head's register, and the TLP's",
        latency=6,
    ),
    Figure(
        key="doorbell_to_msix_cycles",
        meaning="the device echoes at once, a 64-byte message",
        bound=lambda width: _slot_beats(width) + 4,
        why="the two latencies above, and a slot's beats less the one that both count",
        latency=16,
    ),
    Figure(
        key="mmio_read_cycles",
        meaning="4-byte read in to completion out",
        bound=_constant(2),
        why="a register on the way in, and one on the way out",
        latency=6,
    ),
    Figure(
        key="read_bytes_per_cycle",
        meaning="64-byte reads back to back",
        bound=_bytes,
        why="a beat of data a cycle",
        slack=3 / 16,
        more_is_better=True,
    ),
    Figure(
        key="dma_read_bytes_per_cycle",
        meaning="4 KiB reads of host memory, completions of 256 bytes, latency 1 µs at 250 MHz",
        bound=_bytes,
        why="a beat of data a cycle",
        slack=2 / 16,
        more_is_better=True,
    ),
    Figure(
        key="dma_write_bytes_per_cycle",
        meaning="4 KiB writes to host memory, 256 bytes a TLP",
        bound=_bytes,
        why="a beat of data a cycle",
        slack=2 / 16,
        more_is_better=True,
    ),
)
