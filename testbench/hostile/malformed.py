# SPDX-License-Identifier: BSD-2-Clause
"""Requests that the endpoint must reject, with the expected result of each."""

from __future__ import annotations

from models.layout import PAGE

from ..queue_bench import QueueBench
from ..tlp import Tlp, TlpKind
from ..tlp.packets import memory_read, memory_write
from .host import HostileHost

NO_BAR = 5
"""A BAR that the function does not have."""
REFUSED = ("crossing_read", "locked_read", "io_read", "fetch_and_add", "outside_read")
"""Non-posted requests, completed with Unsupported Request."""
UNSUPPORTED = ("crossing_store", "outside_store")
"""Unsupported posted requests, which the endpoint counts."""
KINDS = (
    *REFUSED,
    *UNSUPPORTED,
    "poisoned_store",
    "poisoned_doorbell",
    "short_payload",
    "long_payload",
)
"""Kinds of :func:`send_malformed`."""


async def send_malformed(
    bench: QueueBench, host: HostileHost, kind: str, fifo: int, data: bytes
) -> bool:
    """Send one of :data:`KINDS`.

    Parameters
    ----------
    bench
        The bench, for addresses.
    host
        Sends the request.
    kind
        Kind of the request.
    fifo
        FIFO whose window or doorbell the request addresses.
    data
        Payload, as long as a slot.

    Returns
    -------
    bool
        Whether it was sent; a non-posted request is not sent without a free tag.

    Raises
    ------
    ValueError
        ``kind`` does not exist.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind}: must be one of {', '.join(KINDS)}")
    bar, tlp = _requests(bench, fifo, data)[kind]
    if kind in REFUSED:
        return await host.refused_request_nowait(tlp, bar=bar)
    host.write_nowait(bar, tlp, supported=kind not in UNSUPPORTED)
    return True


def _requests(bench: QueueBench, fifo: int, data: bytes) -> dict[str, tuple[int, Tlp]]:
    """BAR and request by kind."""
    shell, bars = bench.shell, bench.host.bars
    registers, fifos = shell.register_bar, shell.fifo_bar
    outside = min(bars.values()) - PAGE
    window = bars[fifos] + bench.layout.fifo_stride * fifo
    doorbell = bars[registers] + shell.notify(fifo)
    slot = bars[fifos] + bench.driver(fifo, bench.queue.slots_offset)
    dword = {"address": window + PAGE, "length": 1, "first_be": 0xF}
    return {
        "crossing_read": (fifos, memory_read(window + PAGE - 4, 8)),
        "locked_read": (fifos, memory_read(window, 8, kind=TlpKind.MRDLK32)),
        "io_read": (fifos, Tlp(TlpKind.IORD, **dword)),
        "fetch_and_add": (fifos, Tlp(TlpKind.FETCHADD32, payload=data[:4], **dword)),
        "outside_read": (NO_BAR, memory_read(outside, 64)),
        "crossing_store": (fifos, memory_write(window + PAGE - 16, data)),
        "outside_store": (NO_BAR, memory_write(outside, data)),
        "poisoned_store": (fifos, memory_write(slot, data, ep=True)),
        "poisoned_doorbell": (registers, memory_write(doorbell, data[:4], ep=True)),
        "short_payload": (fifos, memory_write(slot, data, payload=data[:32])),
        "long_payload": (fifos, memory_write(slot, data, payload=data * 2)),
    }
