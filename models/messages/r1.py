# SPDX-License-Identifier: BSD-2-Clause
"""Revision ``r1``: the draft specification's transport revision 1.

Source: the virtio-msg draft of 2026 (``transport-msg``, transport revision 1), its message layouts
and bus-instance parameters. The aliases are the names of revision ``v1``. The names of bus messages
start with ``BUS_`` here, because two of their IDs are also IDs of transport messages.
"""

from __future__ import annotations

from .declare import address, event, exchange, u16, u32
from .dialect import Dialect
from .layouts import Array, Field, Show

SLOT_SIZE = 64
"""Slot size of the AMP PCI endpoint in bytes, which is the maximum message size."""

STATUS = u32("status", 8, show=Show.STATUS)
INDEX = u32("index", 8)
VQ_INDEX = u32("vq_index", 8, alias="index")
FEATURE_BLOCKS = (
    u32("block_index", 8, alias="index"),
    u32("num_blocks", 12, alias="num"),
)
FEATURES = Array(name="features", offset=16, element_bits=32, count="num_blocks")
CONFIG_RANGE = (u32("generation", 8), u32("offset", 12), u32("length", 16, alias="size"))
CONFIG_DATA = Array(name="data", offset=20, element_bits=8, count="length")
RING_ADDRESSES = (
    address("desc_addr", 24, alias="descriptor_addr"),
    address("driver_addr", 32),
    address("device_addr", 40),
)
PING = u32("data", 8, show=Show.HEX)
EVENT_DEVICE = event(
    "BUS_EVENT_DEVICE",
    0x40,
    u16("device_number", 8),
    Field(name="device_bus_state", offset=10, bits=16, show=Show.BUS_STATE),
    bus=True,
)
"""Unchanged since the proof of concept of April 2026."""

R1 = Dialect(
    "r1",
    max_size=SLOT_SIZE,
    messages=(
        *exchange(
            "GET_DEVICE_INFO",
            0x02,
            alias="DEVICE_INFO",
            response=(
                u32("device_id", 8, show=Show.DEVICE_ID),
                u32("vendor_id", 12, show=Show.HEX),
                u32("num_feature_blocks", 32),
                u32("config_size", 36),
                u32("max_virtqueues", 40, alias="max_vqs"),
                u32("admin_vq_start", 44, alias="admin_vq_idx"),
                u32("admin_vq_count", 48),
            ),
            response_array=Array(name="device_uuid", offset=16, element_bits=8, count=16),
        ),
        *exchange(
            "GET_DEVICE_FEATURES",
            0x03,
            alias="GET_FEATURES",
            request=FEATURE_BLOCKS,
            response=FEATURE_BLOCKS,
            response_array=FEATURES,
        ),
        *exchange(
            "SET_DRIVER_FEATURES",
            0x04,
            alias="SET_FEATURES",
            request=FEATURE_BLOCKS,
            request_array=FEATURES,
        ),
        *exchange(
            "GET_CONFIG",
            0x05,
            request=(u32("offset", 8), u32("length", 12, alias="size")),
            response=CONFIG_RANGE,
            response_array=CONFIG_DATA,
        ),
        *exchange(
            "SET_CONFIG",
            0x06,
            request=CONFIG_RANGE,
            request_array=CONFIG_DATA,
            response=CONFIG_RANGE,
            response_array=CONFIG_DATA,
        ),
        *exchange("GET_DEVICE_STATUS", 0x07, response=(STATUS,)),
        *exchange("SET_DEVICE_STATUS", 0x08, request=(STATUS,), response=(STATUS,)),
        *exchange(
            "GET_VQUEUE",
            0x09,
            request=(INDEX,),
            response=(
                INDEX,
                u32("max_size", 12),
                u32("cur_size", 16, alias="size"),
                u32("flags", 20, show=Show.HEX),
                *RING_ADDRESSES,
            ),
        ),
        *exchange(
            "SET_VQUEUE",
            0x0A,
            request=(
                INDEX,
                u32("flags", 12, show=Show.HEX),
                u32("size", 16),
                u32("reserved", 20, reserved=True),
                *RING_ADDRESSES,
            ),
        ),
        *exchange("RESET_VQUEUE", 0x0B, request=(INDEX,)),
        *exchange(
            "GET_SHM",
            0x0C,
            request=(u32("shmid", 8),),
            response=(
                u32("shmid", 8),
                u32("reserved", 12, reserved=True),
                address("length", 16),
                address("address", 24),
            ),
        ),
        event(
            "EVENT_CONFIG",
            0x40,
            u32("device_status", 8, show=Show.STATUS, alias="status"),
            u32("generation", 12),
            u32("offset", 16),
            u32("length", 20, alias="size"),
            array=Array(name="data", offset=24, element_bits=8, count="length", optional=True),
        ),
        event(
            "EVENT_AVAIL",
            0x41,
            VQ_INDEX,
            Field(name="next_offset", offset=12, bits=31, word=32),
            Field(name="next_wrap", offset=12, bits=1, word=32, lsb=31),
        ),
        event("EVENT_USED", 0x42, VQ_INDEX),
        *exchange(
            "BUS_GET_DEVICES",
            0x02,
            bus=True,
            request=(u16("offset", 8), u16("count", 10, alias="num")),
            response=(u16("offset", 8), u16("next_offset", 10), u16("count", 12, alias="num")),
            response_array=Array(name="bitmap", offset=14, element_bits=1, count="count"),
        ),
        *exchange("BUS_PING", 0x03, bus=True, request=(PING,), response=(PING,)),
        EVENT_DEVICE,
    ),
)
"""Transport revision 1 for the AMP PCI endpoint: 64 bytes, no transport features.

:meth:`Dialect.on_bus` changes the parameters for another bus."""
