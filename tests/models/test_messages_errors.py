# SPDX-License-Identifier: BSD-2-Clause
"""Every fault of a message raises a named error with field and limit, and no other error."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_support import FIXED, VECTORS

from models.messages import (
    CountError,
    FieldRangeError,
    FormError,
    MessageError,
    RevisionError,
    SizeError,
    TruncatedError,
    UnknownMessageError,
    decode,
    encode,
    from_json,
    request,
)
from models.messages.dialect import Dialect
from models.messages.layouts import MessageKind, MessageLayout


@pytest.mark.parametrize(
    ("raw", "kind", "field", "text"),
    [
        ("", TruncatedError, "length", "length is 0: must be at least 8 bytes"),
        ("00020000010008", TruncatedError, "length", "length is 7: must be at least 8 bytes"),
        (
            "0008000001000c0001",
            TruncatedError,
            "length",
            "SET_DEVICE_STATUS request: length is 9: must be at least msg_size, 12 bytes",
        ),
        (
            "0008000001000b0001000000",
            SizeError,
            "msg_size",
            "SET_DEVICE_STATUS request: msg_size is 11: must be 12 to 48",
        ),
        (
            "0002000001003100" + "00" * 56,
            SizeError,
            "msg_size",
            "DEVICE_INFO request: msg_size is 49: must be 8 to 48",
        ),
        (
            "000c000001000800",
            UnknownMessageError,
            "msg_id",
            "msg_id is 12: must be the id of a transport request or event of v1",
        ),
        (
            "0142000001000c0000000000",
            UnknownMessageError,
            "msg_id",
            "msg_id is 66: must be the id of a transport response of v1",
        ),
        (
            "0207000001000800",
            UnknownMessageError,
            "msg_id",
            "msg_id is 7: must be the id of a bus request or event of v1",
        ),
        (
            "0202050000000c0000002000",
            FieldRangeError,
            "dev_num",
            "BUS_GET_DEVICES request: dev_num is 5: must be 0 in a bus message",
        ),
        (
            "010300000100300000000000 09000000".ljust(99, "0"),
            CountError,
            "num",
            "GET_FEATURES response: num is 9: must be at most 8",
        ),
        (
            "000600000100300000000000 00000000 1d000000".ljust(100, "0"),
            CountError,
            "size",
            "SET_CONFIG request: size is 29: must be at most 28",
        ),
        (
            "000400000100180000000000 03000000 0000000000000000",
            SizeError,
            "msg_size",
            "SET_FEATURES request: msg_size is 24: must be at least 28 for 3 in num",
        ),
    ],
)
def test_decode_names_field_and_limit(raw, kind, field, text):
    with pytest.raises(kind) as caught:
        decode(bytes.fromhex(raw))
    assert str(caught.value) == text
    assert caught.value.field == field
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("change", "kind", "text"),
    [
        (
            {"message": "GET_SHM"},
            UnknownMessageError,
            "message is 'GET_SHM': must be a request of revision v1",
        ),
        (
            {"kind": "answer"},
            UnknownMessageError,
            "kind is 'answer': must be request, response or event",
        ),
        ({"kind": None}, FormError, "kind is None: must be a string"),
        (
            {"index": -1},
            FieldRangeError,
            "SET_FEATURES request: index is -1: must be 0 to 4294967295",
        ),
        (
            {"index": 1 << 32},
            FieldRangeError,
            "SET_FEATURES request: index is 4294967296: must be 0 to 4294967295",
        ),
        ({"index": True}, FormError, "SET_FEATURES request: index is True: must be an integer"),
        ({"index": None}, FormError, "SET_FEATURES request: index is None: must be an integer"),
        (
            {"token": 65536},
            FieldRangeError,
            "SET_FEATURES request: token is 65536: must be 0 to 65535",
        ),
        ({"dev_num": "3"}, FormError, "SET_FEATURES request: dev_num is '3': must be an integer"),
        (
            {"features": [1, 1 << 32]},
            FieldRangeError,
            "SET_FEATURES request: features is 4294967296: must be 0 to 4294967295",
        ),
        (
            {"features": 3},
            FormError,
            "SET_FEATURES request: features is 3: must be a list of numbers",
        ),
        (
            {"features": [1]},
            CountError,
            "SET_FEATURES request: num is 2: must be consistent with features, which has 1 "
            "elements",
        ),
        (
            {"features": [0] * 9, "num": 9},
            CountError,
            "SET_FEATURES request: num is 9: must be at most 8",
        ),
        ({"msg_size": 20}, SizeError, "SET_FEATURES request: msg_size is 20: must be 24 to 48"),
        ({"msg_size": 49}, SizeError, "SET_FEATURES request: msg_size is 49: must be 24 to 48"),
        (
            {"colour": 3},
            FormError,
            "SET_FEATURES request: colour is 3: must be absent: no such field",
        ),
        ({"self": 3}, FormError, "SET_FEATURES request: self is 3: must be absent: no such field"),
    ],
    ids=str,
)
def test_from_json_names_field_and_limit(change, kind, text):
    good = {"message": "SET_FEATURES", "kind": "request", "index": 0, "num": 2, "features": [1, 2]}
    from_json(good)
    with pytest.raises(kind) as caught:
        from_json(good | change)
    assert str(caught.value) == text


def test_from_json_requires_every_field():
    with pytest.raises(FormError, match="SET_DEVICE_STATUS request: status is None: must be given"):
        from_json({"message": "SET_DEVICE_STATUS", "kind": "request"})
    with pytest.raises(FormError, match=r"message is .*: must be an object"):
        from_json([1, 2])
    with pytest.raises(FormError, match="data is 'xy': must be a string of hex digits"):
        from_json(
            {"message": "SET_CONFIG", "kind": "request", "generation": 0, "offset": 0, "data": "xy"}
        )


def test_long_value_is_shortened_in_the_text():
    with pytest.raises(MessageError) as caught:
        from_json({"message": "x\n" * 1000, "kind": "request"})
    assert len(str(caught.value)) < 120
    assert "\n" not in str(caught.value)


def test_count_is_derived_from_its_array():
    message = request("SET_FEATURES", index=0, features=[1, 2, 3])
    assert (message.num, message.msg_size) == (3, 28)


def test_unknown_revision():
    with pytest.raises(RevisionError, match="revision is 'v9': must be v1"):
        decode(b"", "v9")


def test_reserved_type_bits_are_ignored():
    raw = bytearray(encode(request("GET_VQUEUE", dev_num=2, token=5, index=1)))
    plain = decode(raw)
    for bits in range(0x04, 0x100, 0x04):
        raw[0] = bits
        assert decode(raw) == plain


def test_bytes_past_msg_size_are_ignored():
    message = request("GET_VQUEUE", dev_num=2, token=5, index=1)
    assert decode(encode(message) + b"\xff" * 52) == message


def test_larger_msg_size_is_accepted_and_kept():
    raw = bytearray(encode(request("GET_VQUEUE", dev_num=2, token=5, index=1)) + b"\xee" * 36)
    raw[6] = 48
    message = decode(raw)
    assert (message.index, message.msg_size) == (1, 48)
    assert from_json(message.to_json()).msg_size == 48


def test_event_config_may_have_a_range_without_data():
    raw = bytes.fromhex("0040010000001800 0f000000 02000000 04000000 08000000")
    message = decode(raw)
    assert (message.offset, message.size, message.data) == (4, 8, b"")
    assert encode(message) == raw
    longer = bytearray(raw + b"\x11" * 8)
    longer[6] = 32
    assert decode(longer).data == b"\x11" * 8
    longer[6] = 28
    with pytest.raises(SizeError, match="must be at least 32 for 8 in size"):
        decode(longer)


def test_reserved_words_are_shown_only_when_nonzero():
    vector = next(v for v in VECTORS if v["message"] == "SET_VQUEUE" and v["kind"] == "request")
    raw = bytearray.fromhex(vector["wire"])
    assert "reserved" not in decode(raw).to_json()
    raw[20] = 9
    assert decode(raw).to_json()["reserved"] == 9
    assert from_json(decode(raw).to_json()).wire() == bytes(raw)


@FIXED
@given(st.binary(max_size=80))
def test_decode_raises_only_message_errors(raw):
    try:
        message = decode(raw)
    except MessageError as error:
        assert "\n" not in str(error)
    else:
        assert decode(encode(message)) == message


@FIXED
@given(
    st.sampled_from(VECTORS),
    st.lists(st.tuples(st.integers(0, 47), st.integers(0, 255)), max_size=6),
    st.integers(0, 64),
)
def test_decode_of_damaged_vectors(vector, damage, length):
    raw = bytearray.fromhex(vector["wire"])
    for at, value in damage:
        raw[at] = value
    try:
        message = decode(bytes(raw[:length]))
    except MessageError:
        return
    # The message has the contents of the bytes, without reserved type bits and extensions.
    assert decode(encode(message)) == message
    assert encode(message)[2:8] == raw[2:8]


def test_dialect_refuses_contradictory_messages():
    ping = MessageLayout(name="PING", msg_id=3, kind=MessageKind.REQUEST)
    with pytest.raises(ValueError, match="PING request: declared twice"):
        Dialect("x", max_size=48, messages=(ping, ping))
    bad_event = MessageLayout(name="E", msg_id=3, kind=MessageKind.EVENT)
    with pytest.raises(ValueError, match="id 0x03 contradicts the kind"):
        Dialect("x", max_size=48, messages=(bad_event,))
    with pytest.raises(ValueError, match="PING request: 8 bytes, maximum is 7"):
        Dialect("x", max_size=7, messages=(ping,))
