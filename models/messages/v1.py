# SPDX-License-Identifier: BSD-2-Clause
"""Revision ``v1``: the messages of the patch series, at most 48 bytes.

Source: the ``VirtIOMSG`` structure of the patch series and its packers, and the golden vectors in
``tests/data/messages_v1.json``. Two things differ from the patch series: the msg_size of the
GET_DEVICES response is 14 + ceil(num / 8) bytes (the series counts bits as bytes), and BUS_PING of
the 2026 draft is declared because newer drivers send it to every device.
"""

from __future__ import annotations

from .declare import address, event, exchange, u16, u32
from .dialect import Dialect
from .layouts import Array, Field, Show

MAX_SIZE = 48

STATUS = u32("status", 8, show=Show.STATUS)
INDEX = u32("index", 8)
FEATURE_BLOCKS = (u32("index", 8), u32("num", 12))
FEATURES = Array(name="features", offset=16, element_bits=32, count="num")
CONFIG_RANGE = (u32("generation", 8), u32("offset", 12), u32("size", 16))
CONFIG_DATA = Array(name="data", offset=20, element_bits=8, count="size")
RING_ADDRESSES = (
    address("descriptor_addr", 24),
    address("driver_addr", 32),
    address("device_addr", 40),
)

V1 = Dialect(
    "v1",
    max_size=MAX_SIZE,
    messages=(
        *exchange(
            "DEVICE_INFO",
            0x02,
            response=(
                u32("device_id", 8, show=Show.DEVICE_ID),
                u32("vendor_id", 12, show=Show.HEX),
                u32("num_feature_bits", 16),
                u32("config_size", 20),
                u32("max_vqs", 24),
                u16("admin_vq_idx", 28),
                u16("admin_vq_count", 30),
            ),
        ),
        *exchange(
            "GET_FEATURES",
            0x03,
            request=FEATURE_BLOCKS,
            response=FEATURE_BLOCKS,
            response_array=FEATURES,
        ),
        *exchange("SET_FEATURES", 0x04, request=FEATURE_BLOCKS, request_array=FEATURES),
        *exchange(
            "GET_CONFIG",
            0x05,
            request=(u32("offset", 8), u32("size", 12)),
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
                u32("size", 16),
                u32("reserved", 20, reserved=True),
                *RING_ADDRESSES,
            ),
        ),
        *exchange(
            "SET_VQUEUE",
            0x0A,
            request=(
                INDEX,
                u32("unused", 12, reserved=True),
                u32("size", 16),
                u32("reserved", 20, reserved=True),
                *RING_ADDRESSES,
            ),
        ),
        *exchange("RESET_VQUEUE", 0x0B, request=(INDEX,)),
        event(
            "EVENT_CONFIG",
            0x40,
            STATUS,
            u32("generation", 12),
            u32("offset", 16),
            u32("size", 20),
            # Optional: the series sends a range without data and without counting it in msg_size.
            array=Array(name="data", offset=24, element_bits=8, count="size", optional=True),
        ),
        event(
            "EVENT_AVAIL",
            0x41,
            INDEX,
            Field(name="next_offset", offset=12, bits=31, word=32),
            Field(name="next_wrap", offset=12, bits=1, word=32, lsb=31),
        ),
        event("EVENT_USED", 0x42, INDEX),
        *exchange(
            "BUS_GET_DEVICES",
            0x02,
            bus=True,
            request=(u16("offset", 8), u16("num", 10)),
            response=(u16("offset", 8), u16("num", 10), u16("next_offset", 12)),
            response_array=Array(name="bitmap", offset=14, element_bits=1, count="num"),
        ),
        *exchange(
            "BUS_PING",
            0x03,
            bus=True,
            request=(u32("data", 8, show=Show.HEX),),
            response=(u32("data", 8, show=Show.HEX),),
        ),
    ),
)
"""Revision of the patch series."""
