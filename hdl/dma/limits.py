# SPDX-License-Identifier: BSD-2-Clause
"""Limits of the bus master: requests in flight, their size, the completion timeout."""

from amaranth.hdl import Cat, Const, Value

from models.config_space import coded_size, size_code

__all__ = [
    "COMPLETION_BYTES",
    "COMPLETION_TIMEOUT",
    "MAX_COMPLETIONS",
    "MAX_COMPLETION_TIMEOUT",
    "PENDING_WRITES",
    "REQUEST_BYTES",
    "TAGS",
    "block_mask",
    "check_completion_timeout",
]

TAGS = 32
"""Outstanding reads. 5-bit tags number them, so extended tags need not be enabled (PCI Express Base
4.0 section 2.2.6.2)."""

REQUEST_BYTES = 512
"""Bytes of the longest request, even where the host allows more."""

COMPLETION_BYTES = 64
"""The smaller Read Completion Boundary: completions may end at its multiples (section 2.3.1.1)."""

MAX_COMPLETIONS = REQUEST_BYTES // COMPLETION_BYTES
"""Maximum number of completions of a read, which stays between two multiples of
:data:`REQUEST_BYTES`."""

PENDING_WRITES = 8
"""AXI write bursts in flight, from address to response."""

COMPLETION_TIMEOUT = 2_500_000
"""Cycles until an outstanding read fails: 10 ms at 250 MHz (section 2.8 allows 50 µs to 50 ms)."""

MAX_COMPLETION_TIMEOUT = 1 << 30


def check_completion_timeout(cycles: int) -> int:
    """Return ``cycles`` if it is a valid completion timeout, else raise :class:`ValueError`."""
    if not isinstance(cycles, int) or not 64 <= cycles <= MAX_COMPLETION_TIMEOUT:
        raise ValueError(
            f"completion_timeout is {cycles!r}: must be an integer from 64 to "
            f"{MAX_COMPLETION_TIMEOUT} cycles"
        )
    return cycles


def block_mask(code: Value) -> Value:
    """Mask of the address bits within the aligned block that a request must not leave.

    The size of the block is that of ``code``, as encoded in Device Control, or
    :data:`REQUEST_BYTES`, whichever is smaller.
    """
    sizes = (2 << bit for bit in range(REQUEST_BYTES.bit_length() - 1))
    return Cat(Const(1) if size <= coded_size(0) else code >= size_code(size) for size in sizes)
