# SPDX-License-Identifier: BSD-2-Clause
"""Event counters of the device side, declared as data for hdl and the reference page.

Each counter is a port ``count_<name>`` of both tops. A counter wraps, and only ``rst`` clears it,
so that the effects of a function-level reset remain visible.
"""

from __future__ import annotations

from dataclasses import dataclass

TRAFFIC_BITS = 32
"""Width of a counter that increments all the time in a working system."""

FAULT_BITS = 16
"""Width of a fault counter: half the area, and software that polls still sees each increment."""


@dataclass(frozen=True)
class Counter:
    """One event counter.

    Parameters
    ----------
    name
        Name without the prefix of the port.
    bits
        Width; the counter wraps at two to this power.
    counts
        Event that increments the counter.
    """

    name: str
    bits: int
    counts: str

    @property
    def port(self) -> str:
        """Name of the port on both tops."""
        return f"count_{self.name}"


COUNTERS = (
    Counter(
        "messages_to_device",
        TRAFFIC_BITS,
        "a message whose last beat the device side accepted from `m_axis_msg`",
    ),
    Counter(
        "messages_to_driver",
        TRAFFIC_BITS,
        "a message that advanced the head of a device queue",
    ),
    Counter(
        "malformed_packets",
        FAULT_BITS,
        "a packet on `s_axis_msg` with an invalid message size, with a gap in `tkeep`, or for a "
        "FIFO that does not exist",
    ),
    Counter(
        "dropped_packets",
        FAULT_BITS,
        "a packet on `s_axis_msg` that was dropped: in flight when the host rewrote the queue's "
        "head, or in flight or valid when the host reset the function",
    ),
    Counter(
        "sanitised_indices",
        FAULT_BITS,
        "a host write that leaves an index word at the queue's capacity or above",
    ),
    Counter("doorbells", TRAFFIC_BITS, "a doorbell; a write to several doorbells counts each"),
    Counter("interrupts_sent", TRAFFIC_BITS, "an MSI-X write that was sent"),
    Counter(
        "interrupts_held",
        TRAFFIC_BITS,
        "an interrupt that stayed pending: its vector or the function was masked, MSI-X "
        "disabled or bus mastering off. Several of one vector are sent as one",
    ),
    Counter(
        "unsupported_requests",
        FAULT_BITS,
        "a memory request, posted or not, that was not served, or a request of a type that the "
        "endpoint does not support",
    ),
    Counter("unexpected_completions", FAULT_BITS, "a completion without an outstanding read"),
    Counter(
        "dma_errors",
        FAULT_BITS,
        "a read request of the DMA window, or a write burst, that completed with SLVERR",
    ),
)
"""All counters, in the order in which the reference lists them."""
