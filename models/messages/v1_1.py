# SPDX-License-Identifier: BSD-2-Clause
"""Revision ``v1.1``: the combined proof of concept of April 2026, as additions to ``v1``.

Source: ``virtio_msg_protocol.h`` of the proof of concept. The revision is between the patch series
and transport revision 1: it has the layouts of ``v1`` and adds EVENT_DEVICE and a GET_SHM with
32-bit fields.
"""

from __future__ import annotations

from .declare import exchange, u32
from .dialect import Dialect
from .layouts import Show
from .r1 import EVENT_DEVICE
from .v1 import MAX_SIZE, V1

SHM_INDEX = u32("index", 8, alias="shmid")

V1_1 = Dialect(
    "v1.1",
    max_size=MAX_SIZE,
    messages=(
        *V1.messages,
        *exchange(
            "GET_SHM",
            0x0C,
            request=(SHM_INDEX,),
            response=(
                SHM_INDEX,
                u32("length", 12, show=Show.HEX),
                u32("address", 16, show=Show.HEX),
            ),
        ),
        EVENT_DEVICE,
    ),
)
"""Revision of April 2026."""
