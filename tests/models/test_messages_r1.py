# SPDX-License-Identifier: BSD-2-Clause
"""Transport revision 1: known bytes, sizes derived from the maximum, names and aliases."""

import pytest

from models.messages import (
    R1,
    V1,
    CountError,
    FieldRangeError,
    MessageKind,
    SizeError,
    TransportFeature,
    UnknownMessageError,
    decode,
    describe,
    encode,
    event,
    from_json,
    request,
)

NIL = bytes(16)


def response(name, **fields):
    return R1.message(name, MessageKind.RESPONSE, **fields)


DEVICES = response("BUS_GET_DEVICES", offset=0, next_offset=0, count=32, bitmap=b"\1\0\0\0")
INFO = response(
    "GET_DEVICE_INFO",
    token=1,
    device_id=4,
    vendor_id=0x554D4551,
    device_uuid=NIL,
    num_feature_blocks=2,
    config_size=0,
    max_virtqueues=1,
    admin_vq_start=0,
    admin_vq_count=0,
)
VECTORS = [
    (request("BUS_GET_DEVICES", revision=R1, offset=0, count=32), "02020000 00000c00 00002000"),
    (DEVICES, "03020000 00001200 00000000 20000100 0000"),
    (request("BUS_PING", revision=R1, token=0x11, data=0xDEADBEEF), "02030000 11000c00 efbeadde"),
    (response("BUS_PING", token=0x11, data=0xDEADBEEF), "03030000 11000c00 efbeadde"),
    (
        event("BUS_EVENT_DEVICE", revision=R1, device_number=5, device_bus_state=1),
        "02400000 00000c00 05000100",
    ),
    (
        INFO,
        "01020000 01003400 04000000 51454d55" + "00" * 16 + "02000000 00000000 01000000" + "00" * 8,
    ),
    (
        request(
            "SET_VQUEUE",
            revision=R1,
            token=1,
            index=0,
            flags=1,
            size=256,
            desc_addr=0x4000_0000,
            driver_addr=0x4000_1000,
            device_addr=0x4000_2000,
        ),
        "000a0000 01003000 00000000 01000000 00010000 00000000"
        "00000040 00000000 00100040 00000000 00200040 00000000",
    ),
    (
        request("SET_CONFIG", revision=R1, token=1, generation=0, offset=4, data=b"\x34\x12"),
        "00060000 01001600 00000000 04000000 02000000 3412",
    ),
    (
        response("SET_CONFIG", token=1, generation=7, offset=4, data=b"\x34\x12"),
        "01060000 01001600 07000000 04000000 02000000 3412",
    ),
    (
        response("SET_CONFIG", token=1, generation=7, offset=4, data=b""),
        "01060000 01001400 07000000 04000000 00000000",
    ),
    (response("GET_SHM", token=1, shmid=0, length=0, address=0), "010c0000 01002000" + "00" * 24),
]


@pytest.mark.parametrize(("message", "expected"), VECTORS, ids=lambda value: str(value)[:40])
def test_encoding_of_known_messages(message, expected):
    raw = bytes.fromhex(expected)
    assert encode(message) == raw
    assert decode(raw, "r1") == message
    assert from_json(message.to_json(), "r1") == message


@pytest.mark.parametrize(
    ("count", "size"), [(0, 14), (1, 15), (7, 15), (8, 15), (9, 16), (31, 18), (32, 18), (400, 64)]
)
def test_get_devices_bitmap(count, size):
    bitmap = bytes(size - 14)
    message = response("BUS_GET_DEVICES", offset=0, next_offset=0, count=count, bitmap=bitmap)
    assert message.msg_size == size
    assert decode(encode(message), R1) == message


@pytest.mark.parametrize(
    ("size", "words", "config", "event_data", "devices"),
    [(52, 9, 32, 28, 304), (64, 12, 44, 40, 400), (264, 62, 244, 240, 2000)],
)
def test_capacity_follows_from_the_maximum_size(size, words, config, event_data, devices):
    dialect = R1.on_bus(max_size=size)
    assert dialect.capacity("GET_DEVICE_FEATURES", MessageKind.RESPONSE, "features") == words
    assert dialect.capacity("GET_CONFIG", MessageKind.RESPONSE, "data") == config
    assert dialect.capacity("EVENT_CONFIG", MessageKind.EVENT, "data") == event_data
    assert dialect.capacity("BUS_GET_DEVICES", MessageKind.RESPONSE, "bitmap") == devices
    with pytest.raises(CountError, match=f"length is {config + 1}: must be at most {config}"):
        dialect.message("SET_CONFIG", generation=0, offset=0, data=bytes(config + 1))


def test_maximum_size_has_limits():
    with pytest.raises(ValueError, match="GET_DEVICE_INFO response: 52 bytes, maximum is 51"):
        R1.on_bus(max_size=51)
    with pytest.raises(ValueError, match="max_size is 65536: must be at most 65535"):
        R1.on_bus(max_size=65536)
    raw = encode(request("GET_VQUEUE", revision=R1, index=0))
    assert decode(raw[:6] + b"\x40\0" + raw[8:] + bytes(52), R1).msg_size == 64
    with pytest.raises(SizeError, match="msg_size is 65: must be 12 to 64"):
        decode(raw[:6] + b"\x41\0" + raw[8:] + bytes(53), R1)


def test_bus_parameters_do_not_change_the_revision():
    strict = R1.on_bus(features=TransportFeature.STRICT_CONFIG_GENERATION)
    assert strict.features and not R1.features
    assert strict.max_size == R1.max_size and strict.messages is R1.messages


def test_names_of_v1_are_aliases():
    for layout in V1.messages:
        ours = R1.layout(layout.name, layout.kind)
        assert ours.role == layout.name and ours.msg_id == layout.msg_id
    message = request("GET_FEATURES", revision=R1, index=1, num=2)
    assert (message.name, message.role) == ("GET_DEVICE_FEATURES", "GET_FEATURES")
    assert message.fields == {"block_index": 1, "num_blocks": 2}
    assert (message.index, message.number("num"), message.block_index) == (1, 2, 1)
    assert "index" not in message.to_json()
    with pytest.raises(AttributeError, match="no field size"):
        _ = message.size


@pytest.mark.parametrize("type_bits", range(0, 256, 4))
def test_reserved_type_bits_are_ignored(type_bits):
    raw = bytearray(encode(request("GET_VQUEUE", revision=R1, dev_num=3, index=1)))
    raw[0] |= type_bits
    message = decode(bytes(raw), R1)
    assert message == request("GET_VQUEUE", revision=R1, dev_num=3, index=1)
    assert message.encode()[0] == 0


def test_bus_message_with_a_device_number_is_refused():
    with pytest.raises(FieldRangeError, match="dev_num is 1: must be 0 in a bus message"):
        decode(bytes.fromhex("02030100 11000c00 efbeadde"), R1)


@pytest.mark.parametrize("msg_id", [0x00, 0x01, 0x0D, 0x3F, 0x43, 0x7F, 0x80, 0xC2, 0xFF])
@pytest.mark.parametrize("type_bits", range(4))
def test_undefined_ids_are_unknown(msg_id, type_bits):
    raw = bytes([type_bits, msg_id, 0, 0, 0, 0, 64, 0]).ljust(64, b"\0")
    with pytest.raises(UnknownMessageError):
        decode(raw, R1)


@pytest.mark.parametrize("msg_id", [0x40, 0x41, 0x42])
def test_response_bit_with_an_event_id_is_unknown(msg_id):
    raw = bytes([1, msg_id, 0, 0, 0, 0, 64, 0]).ljust(64, b"\0")
    with pytest.raises(UnknownMessageError):
        decode(raw, R1)


def test_descriptions():
    added = event("BUS_EVENT_DEVICE", revision=R1, device_number=5, device_bus_state=1)
    assert describe(added) == "BUS_EVENT_DEVICE device_number 5 device_bus_state 1 (ADDED)"
    odd = event("BUS_EVENT_DEVICE", revision=R1, device_number=5, device_bus_state=7)
    assert describe(odd).endswith("device_bus_state 7")
    assert describe(DEVICES).endswith("bitmap 01000000 (devices 0)")
    selected = request("SET_DRIVER_FEATURES", revision=R1, block_index=1, features=[1])
    assert describe(selected).endswith("features 0x00000001 (VERSION_1)")
