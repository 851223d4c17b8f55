# SPDX-License-Identifier: BSD-2-Clause
"""Messages that the transport answers or drops. D-nn are the known defects of the series."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_support import FIXED, RING, VECTORS, Exchange, ask, bring_up, dropped

from models.devices import BlockDevice, ConsoleDevice, EntropyDevice
from models.messages import V1, decode, request
from models.transport import Drop, Transport, TransportError
from models.virtio import Feature

EMPTY = 5
"""Device number without a device."""
# Enumeration: D-01, D-02, D-03, D-04


@pytest.mark.parametrize(
    ("offset", "num", "answered", "next_offset", "bitmap"),
    [
        (0, 32, 32, 0, "09000080"),
        (0, 40, 32, 0, "09000080"),
        (0, 280, 32, 0, "09000080"),
        (0, 65535, 32, 0, "09000080"),
        (0, 8, 8, 8, "09"),
        (3, 9, 9, 12, "0100"),
        (1, 31, 31, 0, "04000040"),
        (31, 1, 1, 0, "01"),
        (31, 32, 1, 0, "01"),
        (32, 1, 0, 0, ""),
        (65535, 65535, 0, 0, ""),
        (0, 0, 0, 0, ""),
        (5, 0, 0, 0, ""),
    ],
)
def test_get_devices_is_a_window(exchange, offset, num, answered, next_offset, bitmap):
    answer = ask(exchange, "BUS_GET_DEVICES", offset=offset, num=num)
    assert (answer.offset, answer.num, answer.next_offset) == (offset, answered, next_offset)
    assert answer.bitmap.hex() == bitmap
    assert answer.msg_size == 14 + len(bitmap) // 2


@pytest.mark.parametrize(
    "raw",
    [
        "030200000100 0c00 0000 2000",
        "030300000100 0c00 05000000",
        "010700000100 0c00 0f000000",
        "030200000100 0e00 0000 0000 0000",
        "0102 0000 0100 2000" + "00" * 24,
    ],
)
def test_responses_are_never_answered(exchange, raw):
    # D-04, D-07. A PING response must not be answered either.
    assert exchange.ask_bytes(bytes.fromhex(raw).ljust(64, b"\0")) == []
    assert exchange.transport.drops.total() == 1


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("020200000100 0b00 0000 2000", Drop.MALFORMED),
        ("020200000100 0800 0000 2000", Drop.MALFORMED),
        ("020203000100 0c00 0000 2000", Drop.MALFORMED),
        # D-05: IDs of transport messages are unknown on the bus.
        ("020700000100 0800", Drop.UNKNOWN),
        ("020800000100 0c00 00000000", Drop.UNKNOWN),
        ("024100000100 1000 00000000 00000000", Drop.UNKNOWN),
        ("020000000100 0800", Drop.UNKNOWN),
    ],
)
def test_invalid_bus_messages_are_dropped(exchange, raw, reason):
    dropped(exchange, bytes.fromhex(raw).ljust(64, b"\xee"), reason)


def test_ping_is_answered(exchange):
    answer = ask(exchange, "BUS_PING", data=0xDEADBEEF)
    assert answer.data == 0xDEADBEEF


# Dispatch: D-06 to D-10


@pytest.mark.parametrize("msg_id", [0x00, 0x01, 0x0C, 0x0D, 0x3F, 0x43, 0x80, 0xFF])
def test_unknown_ids_are_dropped(exchange, msg_id):
    raw = bytes([0, msg_id, 0, 0, 1, 0, 48, 0]) + bytes(40)
    dropped(exchange, raw, Drop.UNKNOWN)


@pytest.mark.parametrize("msg_id", [0x40, 0x42])
def test_device_events_are_not_for_a_device(exchange, msg_id):
    raw = bytes([0, msg_id, 0, 0, 0, 0, 24, 0]) + bytes(40)
    dropped(exchange, raw, Drop.NOT_FOR_DEVICE)


@pytest.mark.parametrize("msg_id", [*range(0x02, 0x0C), 0x41])
@pytest.mark.parametrize("dev_num", [EMPTY, 32, 0x100, 0xFFFF])
def test_message_to_an_absent_device_is_dropped(exchange, msg_id, dev_num):
    raw = bytes([0, msg_id, dev_num & 0xFF, dev_num >> 8, 1, 0, 48, 0]) + bytes(40)
    dropped(exchange, raw, Drop.NO_DEVICE)


MINIMUM = {
    0x02: 8,
    0x03: 16,
    0x04: 20,
    0x05: 16,
    0x06: 24,
    0x07: 8,
    0x08: 12,
    0x09: 12,
    0x0A: 48,
    0x0B: 12,
    0x41: 16,
}
"""Smallest msg_size, with one feature word and four bytes of configuration."""
COUNT_AT = {0x03: (12, 1), 0x04: (12, 1), 0x06: (16, 4)}


@pytest.mark.parametrize("msg_id", MINIMUM)
def test_sizes(exchange, msg_id):
    bring_up(exchange)
    raw = bytearray([0, msg_id, 0, 0, 1, 0, 0, 0]) + bytes(56)
    if msg_id in COUNT_AT:
        at, count = COUNT_AT[msg_id]
        raw[at] = count
    for size in range(64):
        raw[6] = size
        answers = exchange.ask_bytes(bytes(raw))
        expected = MINIMUM[msg_id] <= size <= 48 and msg_id != 0x41
        assert len(answers) == expected, size


@pytest.mark.parametrize("num", [0, 9, 0xFFFF_FFFF])
def test_feature_counts(exchange, num):
    # D-08
    raw = bytearray(request("GET_FEATURES", index=0, num=1).wire())
    raw[12:16] = num.to_bytes(4, "little")
    dropped(exchange, bytes(raw), Drop.BAD_COUNT)


def test_set_features_counts(exchange):
    dropped(exchange, request("SET_FEATURES", index=0, features=[]).wire(), Drop.BAD_COUNT)
    raw = bytearray(request("SET_FEATURES", index=0, features=[0] * 8).wire())
    raw[12] = 9
    dropped(exchange, bytes(raw), Drop.MALFORMED)


def test_reserved_type_bits(exchange):
    raw = bytearray(request("GET_DEVICE_STATUS", dev_num=3, token=9).wire())
    raw[0] = 0xFC
    (answer,) = exchange.ask_bytes(bytes(raw))
    assert answer.encode()[0] == 0x01


def test_too_short_for_a_header(exchange):
    for size in range(8):
        dropped(exchange, bytes(size), Drop.TRUNCATED)
    assert "length is 7: must be at least 8 bytes" in exchange.reasons


# Device information, features, status


def test_device_info(exchange):
    answer = ask(exchange, "DEVICE_INFO", 3)
    assert answer.device_id == 3
    assert answer.num_feature_bits == 64
    assert answer.config_size == 12
    assert answer.max_vqs == 2
    assert (answer.admin_vq_idx, answer.admin_vq_count) == (0, 0)


def test_get_features_returns_offered_features(exchange):
    assert ask(exchange, "GET_FEATURES", 3, index=0, num=2).features == (5, 0x13)
    ask(exchange, "SET_FEATURES", 3, index=0, features=[0, 1])
    answer = ask(exchange, "GET_FEATURES", 3, index=1, num=8)
    assert (answer.index, answer.num) == (1, 8)
    assert answer.features == (0x13, 0, 0, 0, 0, 0, 0, 0)
    assert ask(exchange, "GET_FEATURES", 3, index=0xFFFF_FFFF, num=2).features == (0, 0)


def test_features_ok_is_refused_for_unoffered_features(exchange):
    # D-12
    ask(exchange, "SET_DEVICE_STATUS", status=3)
    ask(exchange, "SET_FEATURES", index=0, features=[1 << 5, 3])
    assert ask(exchange, "SET_DEVICE_STATUS", status=0xB).status == 3
    ask(exchange, "SET_FEATURES", index=0, features=[0, 3])
    assert ask(exchange, "SET_DEVICE_STATUS", status=0xB).status == 0xB
    ask(exchange, "SET_FEATURES", index=0, features=[0, 0])
    assert ask(exchange, "GET_DEVICE_STATUS").status == 0xB


@pytest.mark.parametrize("status", [0x100, 0xFFFF_FFFF, 0x8000_0000])
def test_response_has_the_resulting_status(exchange, status):
    # D-11
    answer = ask(exchange, "SET_DEVICE_STATUS", status=status)
    assert answer.status == ask(exchange, "GET_DEVICE_STATUS").status
    assert answer.status & ~0x83 == 0


def test_status_zero_resets_before_the_response(exchange):
    bring_up(exchange)
    assert ask(exchange, "SET_DEVICE_STATUS", status=0).status == 0
    assert ask(exchange, "GET_VQUEUE", index=0).size == 0


# Configuration: D-32, D-33


def test_get_config(exchange):
    answer = ask(exchange, "GET_CONFIG", 31, offset=8, size=28)
    assert (answer.offset, answer.size, len(answer.data)) == (8, 28, 28)
    exchange.transport.devices[3].resize(2, 1)
    answer = ask(exchange, "GET_CONFIG", 3, offset=0, size=4)
    assert (answer.generation, answer.data.hex()) == (1, "02000100")


def test_get_config_of_size_0_returns_the_generation(exchange):
    exchange.transport.devices[3].config_changed()
    answer = ask(exchange, "GET_CONFIG", 3, offset=0, size=0)
    assert (answer.generation, answer.size, answer.msg_size) == (1, 0, 20)


@pytest.mark.parametrize(
    ("offset", "size"),
    [(0, 29), (0, 44), (0, 0xFFFF_FFFF), (60, 1), (33, 28), (0xFFFF_FFFF, 2), (0xFFFF_FFFF, 1)],
)
def test_get_config_out_of_range_returns_no_data(exchange, offset, size):
    # Without a response a Linux driver waits 100 s.
    answer = ask(exchange, "GET_CONFIG", 31, offset=offset, size=size)
    assert (answer.offset, answer.size, answer.data, answer.msg_size) == (offset, 0, b"", 20)


def test_set_config_is_all_or_nothing(exchange):
    answer = ask(exchange, "SET_CONFIG", 3, generation=77, offset=8, data=b"A\0\0\0")
    assert (answer.generation, answer.offset, answer.size) == (1, 8, 4)
    assert answer.data == b"A\0\0\0"
    for offset, data in ((7, b"BB"), (10, b"BBBB"), (0xFFFF_FFFF, b"BB"), (0, b"B")):
        answer = ask(exchange, "SET_CONFIG", 3, generation=1, offset=offset, data=data)
        assert (answer.offset, answer.size, answer.msg_size) == (offset, 0, 20)
    assert ask(exchange, "GET_CONFIG", 3, offset=0, size=12).data[8:] == b"A\0\0\0"


# Queues: D-13, D-14, D-16, D-18, D-19


@pytest.mark.parametrize("index", [2, 1023, 1024, 0x1_0000, 0xFFFF_FFFF])
def test_missing_queue_reads_zero(exchange, index):
    answer = ask(exchange, "GET_VQUEUE", 3, index=index)
    assert answer.index == index
    assert {answer.fields[name] for name in answer.fields if name != "index"} == {0}
    ask(exchange, "SET_VQUEUE", 3, index=index, size=8, **RING)
    ask(exchange, "RESET_VQUEUE", 3, index=index)


def test_queue_size_is_zero_until_set(exchange):
    answer = ask(exchange, "GET_VQUEUE", index=0)
    assert (answer.max_size, answer.size, answer.descriptor_addr) == (256, 0, 0)
    ask(exchange, "SET_VQUEUE", index=0, size=128, **RING)
    answer = ask(exchange, "GET_VQUEUE", index=0)
    assert (answer.max_size, answer.size) == (256, 128)
    assert {name: answer.fields[name] for name in RING} == RING


@pytest.mark.parametrize(
    "change", [{"size": 0}, {"size": 512}, {"size": 96}, {"size": 0x1_0000_0}, {"reserved": 1}]
)
def test_set_vqueue_changes_all_or_nothing(exchange, change):
    ask(exchange, "SET_VQUEUE", **({"index": 0, "size": 128} | RING | change))
    answer = ask(exchange, "GET_VQUEUE", index=0)
    assert (answer.size, answer.descriptor_addr, answer.device_addr) == (0, 0, 0)


def test_set_vqueue_does_not_change_an_enabled_queue(exchange):
    bring_up(exchange)
    other = dict.fromkeys(RING, 0x9000)
    ask(exchange, "SET_VQUEUE", index=0, size=32, **other)
    answer = ask(exchange, "GET_VQUEUE", index=0)
    assert (answer.size, answer.descriptor_addr) == (64, 0x1000)


def test_set_vqueue_ignores_the_flags_of_newer_drivers(exchange):
    ask(exchange, "SET_VQUEUE", index=0, size=128, unused=1, **RING)
    assert ask(exchange, "GET_VQUEUE", index=0).size == 128


@pytest.mark.parametrize("negotiated", [False, True])
def test_reset_vqueue_needs_ring_reset(negotiated):
    exchange = Exchange({0: EntropyDevice(features=Feature.RING_RESET.mask)})
    bring_up(exchange, features=(0, 0x103 if negotiated else 3))
    ask(exchange, "RESET_VQUEUE", index=0)
    assert ask(exchange, "GET_VQUEUE", index=0).size == (0 if negotiated else 64)


# Whole transport


def test_device_numbers_are_checked():
    for number in (-1, 32):
        with pytest.raises(TransportError, match=f"device number is {number}: must be 0 to 31"):
            Transport({number: EntropyDevice()}, None)


def test_responses_are_padded_to_the_maximum(exchange):
    exchange.ask(request("GET_DEVICE_STATUS"))
    assert len(exchange.sent[0]) == V1.max_size
    assert exchange.sent[0][12:] == bytes(36)


def test_function_reset_resets_every_device(exchange):
    bring_up(exchange, 0)
    bring_up(exchange, 3)
    exchange.transport.reset()
    assert [device.status for device in exchange.transport.devices.values()] == [0, 0, 0]


@FIXED
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=70),
            st.builds(
                lambda vector, at, value, dev_num: _damaged(vector, at, value, dev_num),
                st.sampled_from(VECTORS),
                st.integers(0, 47),
                st.integers(0, 255),
                st.sampled_from([0, 3, 31, 32]),
            ),
        ),
        max_size=12,
    )
)
def test_any_bytes_get_at_most_one_valid_response(slots):
    exchange = Exchange({0: EntropyDevice(), 3: ConsoleDevice(), 31: BlockDevice()})
    for raw in slots:
        answers = exchange.ask_bytes(raw)
        assert len(answers) <= 1
        for answer in answers:
            asked = decode(raw)
            assert (asked.name, asked.kind) == (answer.name, "request")
            assert (asked.token, asked.dev_num) == (answer.token, answer.dev_num)
    counted = exchange.transport.received + exchange.transport.drops.total()
    assert counted == len(slots)


def _damaged(vector, at, value, dev_num):
    raw = bytearray.fromhex(vector["wire"])
    if not raw[0] & 2:
        raw[2:4] = dev_num.to_bytes(2, "little")
    raw[at] = value
    return bytes(raw)
