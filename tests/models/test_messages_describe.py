# SPDX-License-Identifier: BSD-2-Clause
"""One-line text of messages."""

from itertools import product

import pytest
from model_support import VECTORS

from models.messages import V1, MessageKind, decode, describe, describe_bytes, event, request
from models.messages.layouts import HEADER, TYPE_BUS, TYPE_RESPONSE


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (
            request("SET_DEVICE_STATUS", dev_num=3, token=0x12, status=0x0B),
            "SET_DEVICE_STATUS request dev 3 token 0x0012 "
            "status 0x0b (ACKNOWLEDGE DRIVER FEATURES_OK)",
        ),
        (
            request("SET_DEVICE_STATUS", status=0x110),
            "SET_DEVICE_STATUS request dev 0 token 0x0000 status 0x110 (SUSPEND 0x100)",
        ),
        (
            request("GET_FEATURES", dev_num=1, token=1, index=0, num=2).respond(
                index=0, features=[0x1, 0x3]
            ),
            "GET_FEATURES response dev 1 token 0x0001 index 0 num 2 "
            "features 0x00000001 0x00000003 (bit 0 VERSION_1 ACCESS_PLATFORM)",
        ),
        (
            request("GET_FEATURES", index=0, num=1).respond(index=0xFFFFFFFF, features=[1]),
            "GET_FEATURES response dev 0 token 0x0000 index 4294967295 num 1 features 0x00000001",
        ),
        (
            request("BUS_GET_DEVICES", token=2, offset=8, num=16).respond(
                offset=8, num=16, next_offset=24, bitmap=b"\x09\x80"
            ),
            "BUS_GET_DEVICES response token 0x0002 offset 8 num 16 next_offset 24 "
            "bitmap 0980 (devices 8 11 23)",
        ),
        (event("EVENT_USED", dev_num=4, index=1), "EVENT_USED dev 4 index 1"),
        (
            request("SET_CONFIG", generation=0, offset=8, data=b"\1\2"),
            "SET_CONFIG request dev 0 token 0x0000 generation 0 offset 8 size 2 data 0102",
        ),
        (request("BUS_PING", data=5), "BUS_PING request token 0x0000 data 0x00000005"),
    ],
)
def test_describe(message, text):
    assert describe(message) == text


def test_every_vector_has_one_line_with_every_field():
    for vector in VECTORS:
        line = describe(decode(bytes.fromhex(vector["wire"])))
        assert "\n" not in line
        assert line.startswith(vector["message"])
        for key in set(vector) & {"index", "offset", "generation", "max_size", "next_wrap"}:
            assert f"{key} {vector[key]}" in line


def test_malformed_bytes_are_described():
    assert describe_bytes(b"\0\x0c\0\0\0\0\x08\0", V1) == (
        "malformed: msg_id is 12: must be the id of a transport request or event of v1 "
        "[000c000000000800]"
    )


def test_any_bytes_are_described_in_one_line():
    """Any header is described in one line, by its name or by the error."""
    lines = set()
    for type_bits, msg_id in product((0, 1, 2, 3, 0xFC, 0xFF), range(0x100)):
        for msg_size in (0, 7, 8, 12, 48, 60, 0xFFFF):
            raw = HEADER.pack(type_bits, msg_id, 0, 1, msg_size) + b"\xff" * 56
            line = describe_bytes(raw, V1)
            assert "\n" not in line and "None" not in line and "null" not in line
            assert len(line) < 400
            known = {
                layout.name
                for layout in V1.messages
                if layout.msg_id == msg_id
                and layout.bus == bool(type_bits & TYPE_BUS)
                and (layout.kind is MessageKind.RESPONSE) == bool(type_bits & TYPE_RESPONSE)
            }
            # The line starts with the name of the bus or transport message, or with the error.
            first = line.removeprefix("malformed: ").split()[0]
            assert first in (known or {"msg_id"}), line
            lines.add(line)
    assert len(lines) > 1000
    for size in range(8):
        assert describe_bytes(bytes(size), V1).startswith("malformed: length is")
