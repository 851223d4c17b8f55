# SPDX-License-Identifier: BSD-2-Clause
"""Requests that the endpoint must reject, with the expected result of each."""

from __future__ import annotations

from models.layout import PAGE
from models.shell import AMP_PCI

from ..queue_bench import QUEUE
from ..tlp import Tlp, TlpKind
from ..tlp.packets import memory_read, memory_write
from .requests import RequestBench

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


async def send_malformed(bench: RequestBench, kind: str, fifo: int, data: bytes) -> bool:
    """Send one of :data:`KINDS`.

    Parameters
    ----------
    bench
        The bench to send on.
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
        return await bench.refuse_nowait(tlp, bar=bar)
    bench.send_write(bar, tlp, supported=kind not in UNSUPPORTED)
    return True


def _requests(bench: RequestBench, fifo: int, data: bytes) -> dict[str, tuple[int, Tlp]]:
    """BAR and request by kind."""
    registers, fifos = AMP_PCI.register_bar, AMP_PCI.fifo_bar
    outside = min(bench.host.bars.values()) - PAGE
    window = bench.host.bars[fifos] + bench.layout.fifo_stride * fifo
    doorbell = bench.host.bars[registers] + AMP_PCI.notify(fifo)
    slot = bench.host.bars[fifos] + bench.driver(fifo, QUEUE.slots_offset)
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
