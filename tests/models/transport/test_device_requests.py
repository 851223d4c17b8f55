# SPDX-License-Identifier: BSD-2-Clause
"""Requests of any form: answered exactly once, or dropped."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_support import FIXED, VECTORS
from transport_support import (
    DIALECTS,
    EVERY_REQUEST,
    Exchange,
    ask,
    avail,
    check_form,
    console,
    devices,
    dropped,
    every_request,
    start,
    write_status,
)

from models.handlers import Drop
from models.messages import V1, MessageKind, request
from models.messages.layouts import HEADER


def test_every_request_is_answered(dialect):
    """Each request has one response at any status: eleven in r1, which has GET_SHM."""
    exchange = console(dialect)
    messages = every_request(token=0x55AA, revision=dialect)
    for status in (0, 1, 3):
        write_status(exchange, 0, status)
        for message in messages:
            assert exchange.ask(message).token == 0x55AA
    assert len(messages) == len(EVERY_REQUEST) - (dialect is V1)
    assert exchange.transport.drops.total() == 0


def test_responses_echo_tokens(exchange, dialect):
    """Responses to bus and transport messages echo any token; it may be that of another request."""
    for token in (0, 1, 0xFF, 0x100, 0x8000, 0xFF00, 0xFFFF, 0):
        for message in (
            *every_request(3, token, dialect),
            request("BUS_PING", revision=dialect, token=token, data=token),
            request("BUS_GET_DEVICES", revision=dialect, token=token, offset=0, num=8),
        ):
            (answer,) = exchange.ask_bytes(message.wire())
            assert (answer.name, answer.token) == (message.name, token)
        twice = [
            ask(exchange, "GET_CONFIG", 3, token, offset=offset, size=2).data for offset in (0, 2)
        ]
        assert twice == [b"\x50\0", b"\x19\0"]


def test_bytes_after_a_message_are_ignored(dialect):
    """The rest of the slot belongs to the bus and may have any contents; a response pads it."""
    clean, dirty = console(dialect), console(dialect)
    for message in every_request(revision=dialect):
        raw = message.encode()
        clean.ask_bytes(raw.ljust(64, b"\0"))
        dirty.ask_bytes(raw.ljust(64, b"\xee"))
    assert dirty.sent == clean.sent
    for raw in dirty.sent:
        check_form(raw, dialect)


@pytest.mark.parametrize("number", [5, 30, 32, 0x100, 0xFFFF])
def test_message_to_an_absent_device_is_dropped(exchange, dialect, number, caplog, capsys):
    """Any number of them are dropped, without a log entry for any."""
    messages = [message.wire() for message in every_request(number, revision=dialect)]
    for raw in (*messages, avail(0, number, dialect)):
        dropped(exchange, raw, Drop.NO_DEVICE)
    assert not any(exchange.ask_bytes(messages[0]) for _ in range(200))
    assert not caplog.records and capsys.readouterr() == ("", "")


def test_only_complete_messages_are_answered(dialect):
    """A message that ends before its header or its msg_size is dropped."""
    exchange = console(dialect)
    raw = next(
        message.encode()
        for message in every_request(revision=dialect)
        if message.name == "SET_VQUEUE"
    )
    for length in range(len(raw)):
        dropped(exchange, raw[:length], Drop.TRUNCATED)
        if length == 7:
            assert exchange.reasons[-1] == "length is 7: must be at least 8 bytes"
    assert len(exchange.ask_bytes(raw)) == 1


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
    0x0C: 12,
    0x41: 16,
}
"""Smallest msg_size, with one feature word and four bytes of configuration."""
COUNT_AT = {0x03: (12, 1), 0x04: (12, 1), 0x06: (16, 4)}


def test_msg_size_lies_between_message_and_maximum(exchange, dialect):
    """A message with a smaller or larger msg_size is dropped without an effect."""
    requests = {layout.msg_id for layout in dialect.messages if not layout.type_bits}
    assert requests - set(MINIMUM) == {0x40, 0x42}
    for msg_id in requests & set(MINIMUM):
        start(exchange)
        raw = bytearray([0, msg_id, 0, 0, 1, 0, 0, 0]) + bytes(56)
        at, count = COUNT_AT.get(msg_id, (8, 0))
        raw[at] = count
        for size in (*range(80), 0x100, 0xFFFF):
            raw[6:8] = size.to_bytes(2, "little")
            if MINIMUM[msg_id] <= size <= dialect.max_size:
                answers = exchange.ask_bytes(bytes(raw))
                assert len(answers) == (msg_id != 0x41), (msg_id, size)
            else:
                dropped(exchange, bytes(raw), Drop.MALFORMED)


def test_wrong_counts_are_dropped(exchange, dialect):
    """Counts of 0, above what a message holds, or above what msg_size covers."""
    words = {"v1": 8, "r1": 12}[dialect.revision]
    write_status(exchange, 3, 1)
    for count in (words + 1, words + 2, 0, 0x0100_0000, 0xFFFF_FFFF):
        raw = HEADER.pack(0, 3, 3, 1, 16) + bytes(4) + count.to_bytes(4, "little")
        dropped(exchange, raw, Drop.BAD_COUNT)
        largest = HEADER.pack(0, 4, 3, 1, dialect.max_size)
        raw = (largest + bytes(4) + count.to_bytes(4, "little")).ljust(dialect.max_size, b"\0")
        dropped(exchange, raw, Drop.BAD_COUNT if count == 0 else Drop.MALFORMED)
    assert ask(exchange, "GET_FEATURES", 3, index=0, num=words).num == words
    # Three feature words and eight bytes of configuration, of which msg_size covers less.
    for msg_id, *fields in ((4, 0, 3), (6, 0, 8, 8)):
        numbers = b"".join(field.to_bytes(4, "little") for field in fields)
        raw = HEADER.pack(0, msg_id, 3, 1, 24) + numbers + b"A" * 16
        dropped(exchange, raw, Drop.MALFORMED)


def test_responses_are_dropped(exchange, dialect):
    """Any response to a driver, well formed or not, is dropped without an effect."""
    start(exchange)
    for layout in dialect.messages:
        if layout.kind is MessageKind.RESPONSE:
            # A status of 0 in a response does not reset the device.
            header = layout.type_bits, layout.msg_id, 0, 1
            raw = HEADER.pack(*header, layout.min_size).ljust(64, b"\0")
            dropped(exchange, raw, Drop.NOT_FOR_DEVICE)
            for size in {7, layout.min_size - 1, dialect.max_size + 1}:
                dropped(exchange, HEADER.pack(*header, size).ljust(80, b"\0"), Drop.MALFORMED)
            if layout.min_size > 8:
                dropped(exchange, HEADER.pack(*header, layout.min_size), Drop.TRUNCATED)
    full = ask(exchange, "BUS_GET_DEVICES", offset=0, num=32)
    dropped(exchange, full.wire(), Drop.NOT_FOR_DEVICE)


def test_events_of_a_device_are_dropped(exchange, dialect):
    """The transport sends these events; for the driver only EVENT_AVAIL is an event to a device."""
    start(exchange)
    for layout in dialect.messages:
        if layout.kind is MessageKind.EVENT and layout.name != "EVENT_AVAIL":
            for body in (bytes(40), b"\5\0\1\0" + bytes(36), b"\0\0\2\0" + bytes(36)):
                raw = HEADER.pack(layout.type_bits, layout.msg_id, 0, 0, layout.min_size) + body
                dropped(exchange, raw, Drop.NOT_FOR_DEVICE)


@pytest.mark.parametrize("filler", [b"\0", b"\1"])
def test_undefined_ids_are_dropped(exchange, dialect, filler):
    """Each ID has its meaning with its own type bits only.

    A bus message with the ID of SET_DEVICE_STATUS and a status of 0 resets no device (D-05).
    """
    known = {(layout.type_bits, layout.msg_id) for layout in dialect.messages}
    start(exchange)
    before, unknown = exchange.state(), 0
    for type_bits in range(4):
        for msg_id in range(256):
            if (type_bits, msg_id) not in known:
                unknown += 1
                header = HEADER.pack(type_bits, msg_id, 0, 1, dialect.max_size)
                assert exchange.ask_bytes(header.ljust(64, filler)) == []
    assert unknown == 4 * 256 - {"v1": 27, "r1": 30}[dialect.revision]
    assert exchange.transport.drops == {Drop.UNKNOWN: unknown}
    assert exchange.state() == before


def damaged(raw, at, value):
    raw = bytearray(raw.ljust(at + 1, b"\0"))
    raw[at] = value
    return bytes(raw)


def addressed(raw, number):
    return raw if raw[0] & 2 else raw[:2] + number.to_bytes(2, "little") + raw[4:]


def any_message(dialect):
    """Random bytes, known headers before random bytes, and messages with one wrong byte."""
    valid = [message.wire() for message in every_request(revision=dialect)]
    valid += [bytes.fromhex(vector["wire"]) for vector in VECTORS]
    numbers = st.sampled_from([0, 3, 31, 32])
    return st.one_of(
        st.binary(max_size=70),
        st.builds(
            lambda layout, number, size, body: (
                HEADER.pack(layout.type_bits, layout.msg_id, number, 7, size) + body
            ).ljust(64, b"\0"),
            st.sampled_from(dialect.messages),
            numbers,
            st.integers(8, 64),
            st.binary(max_size=56),
        ),
        st.builds(
            lambda raw, number, at, value: damaged(addressed(raw, number), at, value),
            st.sampled_from(valid),
            numbers,
            st.integers(0, 63),
            st.integers(0, 255),
        ),
    )


@pytest.mark.parametrize("revision", DIALECTS.values(), ids=DIALECTS)
def test_any_bytes_get_at_most_one_response(revision):
    """Each message is answered or counted as dropped, or is an event that is handled."""

    @FIXED
    @given(slots=st.lists(any_message(revision), min_size=1, max_size=12))
    def check(slots):
        exchange = Exchange(devices(), revision)
        for raw in slots:
            answers = exchange.ask_bytes(raw)
            assert len(answers) <= 1
            for answer in answers:
                asked = revision.decode(raw)
                assert (asked.name, asked.kind) == (answer.name, MessageKind.REQUEST)
                assert answer.kind is MessageKind.RESPONSE
                assert (asked.token, asked.dev_num) == (answer.token, answer.dev_num)
                check_form(exchange.sent[-1], revision)
        counted = exchange.transport.received + exchange.transport.drops.total()
        assert counted == len(slots)

    check()
