# SPDX-License-Identifier: BSD-2-Clause
"""Golden vectors, encoded and decoded byte for byte."""

import pytest
from model_support import VECTORS, vector_id

from models.messages import MessageKind, decode, encode, event, from_json, request, wire
from models.messages.v1 import V1


def test_vectors_cover_every_message_of_the_series():
    seen = {(vector["message"], vector["kind"]) for vector in VECTORS}
    declared = {(layout.name, layout.kind.value) for layout in V1.messages}
    assert declared - seen == {
        ("BUS_GET_DEVICES", "response"),
        ("BUS_PING", "request"),
        ("BUS_PING", "response"),
    }
    assert seen <= declared


@pytest.mark.parametrize("vector", VECTORS, ids=vector_id)
def test_decodes_to_the_vector(vector):
    decoded = decode(bytes.fromhex(vector["wire"])).to_json()
    assert decoded == vector
    assert list(decoded) == list(vector)


@pytest.mark.parametrize("vector", VECTORS, ids=vector_id)
def test_encodes_to_the_vector(vector):
    message = from_json({key: vector[key] for key in vector if key not in ("wire", "msg_size")})
    assert wire(message).hex() == vector["wire"]
    assert encode(message).hex() == vector["wire"][: 2 * vector["msg_size"]]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (request("BUS_GET_DEVICES", offset=0, num=32), "02020000 00000c00 00002000"),
        (request("DEVICE_INFO", token=1), "00020000 01000800"),
        (
            V1.message(
                "DEVICE_INFO",
                "response",
                token=1,
                device_id=4,
                vendor_id=0x554D4551,
                num_feature_bits=64,
                config_size=0,
                max_vqs=1024,
                admin_vq_idx=0,
                admin_vq_count=0,
            ),
            "01020000 01002000 04000000 51454d55 40000000 00000000 00040000 00000000",
        ),
        (request("GET_FEATURES", token=1, index=0, num=2), "00030000 01001000 00000000 02000000"),
        (request("SET_DEVICE_STATUS", token=1, status=1), "00080000 01000c00 01000000"),
        (request("GET_VQUEUE", token=1, index=0), "00090000 01000c00 00000000"),
        (
            request(
                "SET_VQUEUE",
                token=1,
                index=0,
                size=256,
                descriptor_addr=0x4000_0000,
                driver_addr=0x4000_1000,
                device_addr=0x4000_2000,
            ),
            "000a0000 01003000 00000000 00000000 00010000 00000000"
            "00000040 00000000 00100040 00000000 00200040 00000000",
        ),
        (
            event("EVENT_AVAIL", index=0, next_offset=0, next_wrap=0),
            "00410000 00001000 00000000 00000000",
        ),
        (event("EVENT_USED", index=0), "00420000 00000c00 00000000"),
        (
            event("EVENT_CONFIG", status=15, generation=1, offset=0, size=0),
            "00400000 00001800 0f000000 01000000 00000000 00000000",
        ),
        (request("BUS_PING", token=0x11, data=0xDEADBEEF), "02030000 11000c00 efbeadde"),
        (
            request("BUS_PING", token=0x11, data=0xDEADBEEF).respond(data=0xDEADBEEF),
            "03030000 11000c00 efbeadde",
        ),
    ],
    ids=str,
)
def test_encoding_of_known_messages(message, expected):
    raw = bytes.fromhex(expected)
    assert encode(message) == raw
    assert decode(raw) == message


@pytest.mark.parametrize(
    ("num", "size"), [(0, 14), (1, 15), (7, 15), (8, 15), (9, 16), (32, 18), (272, 48)]
)
def test_get_devices_response_counts_bits(num, size):
    bitmap = bytes([0xA5] * (size - 14))
    message = request("BUS_GET_DEVICES", token=7, offset=0, num=num).respond(
        offset=0, num=num, next_offset=0, bitmap=bitmap
    )
    raw = encode(message)
    assert len(raw) == message.msg_size == size
    assert raw[14:] == bitmap
    assert decode(raw).bitmap == bitmap
    # A bus message has no device number in JSON, but has its nonzero token.
    assert from_json(message.to_json()) == message
    assert "dev_num" not in message.to_json()
    assert message.to_json()["token"] == 7


def test_get_devices_response_of_the_series_is_decoded():
    # Its msg_size is 46 for 32 device numbers.
    raw = bytes.fromhex("030200000000 2e00 0000 2000 0000 01000000").ljust(48, b"\0")
    assert decode(raw).bitmap == b"\1\0\0\0"


def test_wire_has_the_maximum_and_encode_the_exact_size():
    message = request("GET_VQUEUE", dev_num=3, index=1)
    assert len(encode(message)) == 12
    assert wire(message) == encode(message) + bytes(36)


def test_message_fields_are_attributes_and_immutable():
    message = V1.message("GET_FEATURES", MessageKind.RESPONSE, dev_num=5, index=1, features=[3])
    assert (message.name, message.kind, message.dev_num) == ("GET_FEATURES", "response", 5)
    assert (message.num, message.features) == (1, (3,))
    with pytest.raises(AttributeError):
        message.dev_num = 6
    with pytest.raises(TypeError):
        message.fields["num"] = 2
    with pytest.raises(AttributeError, match="no field status"):
        _ = message.status


@pytest.mark.parametrize(
    ("raw", "values"),
    [
        (
            "0302 0000 0201 1000 0201 0a00 0403 ff03",
            {"offset": 0x0102, "num": 10, "next_offset": 0x0304, "bitmap": b"\xff\x03"},
        ),
        ("0108 0605 0201 0c00 04030201", {"status": 0x01020304}),
        (
            "000a 0605 0201 3000 04030201 08070605 0c0b0a09 100f0e0d"
            "1817161514131211 201f1e1d1c1b1a19 2827262524232221",
            {
                "index": 0x01020304,
                "unused": 0x05060708,
                "size": 0x090A0B0C,
                "reserved": 0x0D0E0F10,
                "descriptor_addr": 0x1112131415161718,
                "driver_addr": 0x191A1B1C1D1E1F20,
                "device_addr": 0x2122232425262728,
            },
        ),
        (
            "0041 0605 0000 1000 04030201 08070685",
            {"index": 0x01020304, "next_offset": 0x05060708, "next_wrap": 1},
        ),
    ],
)
def test_every_field_is_little_endian(raw, values):
    """Every word of a message is little-endian on any host, reserved words as well."""
    raw = bytes.fromhex(raw)
    message = decode(raw.ljust(V1.max_size, b"\0"))
    assert {name: message.fields[name] for name in values} == values
    assert message.token == (0 if message.kind is MessageKind.EVENT else 0x0102)
    assert message.dev_num == (0 if message.bus else 0x0506)
    assert encode(message) == raw
