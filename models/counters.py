# SPDX-License-Identifier: BSD-2-Clause
"""The event counters of the device side, declared as data: what hdl counts and a reader is told.

Each is a port ``count_<name>`` of both tops. A counter wraps, and only ``rst`` clears it:
function-level reset is one of the things whose effects it tells.
"""

from __future__ import annotations

from dataclasses import dataclass

TRAFFIC_BITS = 32
"""Of what a working system counts up all the time."""

FAULT_BITS = 16
"""Of what somebody's mistake counts up: half the area, and a reader who polls sees the steps."""


@dataclass(frozen=True)
class Counter:
    """One counter.

    Parameters
    ----------
    name
        Without the prefix of its port.
    bits
        Width; it counts modulo two to this power.
    counts
        What adds one to it.
    """

    name: str
    bits: int
    counts: str

    @property
    def port(self) -> str:
        """Name of its port on either top."""
        return f"count_{self.name}"


COUNTERS = (
    Counter(
        "messages_to_device",
        TRAFFIC_BITS,
        "a message whose last beat the device side took from `m_axis_msg`",
    ),
    Counter(
        "messages_to_driver",
        TRAFFIC_BITS,
        "a message that moved the head of a device queue",
    ),
    Counter(
        "malformed_packets",
        FAULT_BITS,
        "a packet on `s_axis_msg` of a size that no message has, with a hole in `tkeep`, or for a "
        "FIFO that does not exist",
    ),
    Counter(
        "dropped_packets",
        FAULT_BITS,
        "a packet on `s_axis_msg` that was given up: under way as the host rewrote the queue's "
        "head, or under way or on offer as the host reset the function",
    ),
    Counter(
        "sanitised_indices",
        FAULT_BITS,
        "a host's write that leaves an index word at the queue's capacity or above",
    ),
    Counter("doorbells", TRAFFIC_BITS, "a doorbell; a write that rings several counts each"),
    Counter("interrupts_sent", TRAFFIC_BITS, "an MSI-X write that left"),
    Counter(
        "interrupts_held",
        TRAFFIC_BITS,
        "an interrupt that was kept pending as it was raised: its vector or the function was "
        "masked, MSI-X disabled or bus mastering off. Several of one vector leave as one",
    ),
    Counter(
        "unsupported_requests",
        FAULT_BITS,
        "a memory request that was not served, posted or not, or a request of a kind that the "
        "endpoint does not have",
    ),
    Counter("unexpected_completions", FAULT_BITS, "a completion that no read waited for"),
    Counter(
        "dma_errors",
        FAULT_BITS,
        "a read request of the DMA window, or a write burst, that was answered with SLVERR",
    ),
)
"""All counters, in the order in which the reference lists them."""
