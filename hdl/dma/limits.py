# SPDX-License-Identifier: BSD-2-Clause
"""How much the requester has under way at once, and how long it waits."""

from amaranth.hdl import Cat, Const, Value

from models.config_space import coded_size, size_code

__all__ = [
    "COMPLETION_BYTES",
    "COMPLETION_TIMEOUT",
    "MAX_COMPLETION_TIMEOUT",
    "MOST_COMPLETIONS",
    "PENDING_WRITES",
    "REQUEST_BYTES",
    "TAGS",
    "block_mask",
    "check_completion_timeout",
]

TAGS = 32
"""Reads outstanding. As many as five tag bits number, so that extended tags need not be enabled
(PCI Express Base 4.0 section 2.2.6.2)."""

REQUEST_BYTES = 512
"""Bytes of the longest request, whatever the host allows beyond that."""

COMPLETION_BYTES = 64
"""Where a completion may end: at its multiples, the smaller Read Completion Boundary (section
2.3.1.1)."""

MOST_COMPLETIONS = REQUEST_BYTES // COMPLETION_BYTES
"""Completions that answer a read at most. None crosses a multiple of :data:`REQUEST_BYTES`."""

PENDING_WRITES = 8
"""AXI write bursts between their address and their response."""

COMPLETION_TIMEOUT = 2_500_000
"""Cycles until a read is given up: 10 ms at 250 MHz (section 2.8 allows 50 µs to 50 ms)."""

MAX_COMPLETION_TIMEOUT = 1 << 30


def check_completion_timeout(cycles: int) -> int:
    """Return ``cycles`` if it can be a completion timeout, else raise :class:`ValueError`."""
    if not isinstance(cycles, int) or not 64 <= cycles <= MAX_COMPLETION_TIMEOUT:
        raise ValueError(
            f"completion_timeout is {cycles!r}: must be an integer from 64 to "
            f"{MAX_COMPLETION_TIMEOUT} cycles"
        )
    return cycles


def block_mask(code: Value) -> Value:
    """Mask of the address bits within a block that one request may cover, those of
    :data:`REQUEST_BYTES`: the block is as long as ``code`` in Device Control allows, and as we do.
    """
    sizes = (2 << bit for bit in range(REQUEST_BYTES.bit_length() - 1))
    return Cat(Const(1) if size <= coded_size(0) else code >= size_code(size) for size in sizes)
