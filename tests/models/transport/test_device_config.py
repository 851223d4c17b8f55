# SPDX-License-Identifier: BSD-2-Clause
"""Reads and writes of the configuration of a device, and its generation."""

import asyncio

import pytest
from transport_support import PROFILES, Exchange, ask, console, start

from models.devices import VirtioDevice


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("generation", [0, 4, 5, 6, 7, 0xFFFF_FFFF])
def test_write_of_any_generation(profile, generation):
    """Only the strict profile refuses a generation; a response has the new one."""
    exchange = console(PROFILES[profile])
    device = exchange.devices[0]
    device.generation = 5
    data = b"A\0\0\0"

    def write(generation):
        return ask(exchange, "SET_CONFIG", generation=generation, offset=8, data=data)

    answer = write(generation)
    applied = profile != "strict" or generation == 5
    assert answer.data == (data if applied else b"")
    assert answer.generation == device.generation == (6 if applied else 5)
    assert bytes(device.output) == (b"A" if applied else b"")
    assert device.read_config(8, 4) == (data if applied else bytes(4))
    # A write of the same bytes takes effect without a new generation.
    if applied:
        answer = write(6 if profile == "strict" else generation)
        assert (answer.generation, answer.data) == (6, data)
        assert bytes(device.output) == b"AA"


def test_messages_have_the_current_generation(dialect):
    """Every response and event has the current generation, which each change advances."""
    exchange = console(dialect)
    device = exchange.devices[0]
    device.generation = 0xFFFF_FFFE
    start(exchange)
    seen = []
    for cols in (81, 82, 83):
        read = ask(exchange, "GET_CONFIG", offset=0, size=2)
        nothing = ask(exchange, "GET_CONFIG", offset=0, size=0)
        written = ask(exchange, "SET_CONFIG", generation=0, offset=0, data=b"no")
        asyncio.run(exchange.transport.notify_config(0))
        event = dialect.decode(exchange.sent[-1])
        messages = (read, nothing, written, event)
        assert {message.generation for message in messages} == {device.generation}
        assert read.data == bytes([80 if cols == 81 else cols - 1, 0])
        seen.append(device.generation)
        device.resize(cols, 25)
    assert seen == [0xFFFF_FFFE, 0xFFFF_FFFF, 0]
    written = ask(exchange, "SET_CONFIG", generation=0, offset=8, data=b"A\0\0\0")
    assert written.generation == device.generation == 2


CONFIG = bytes(range(100, 160))
MOST = {"v1": 28, "r1": 44}
"""Bytes of configuration in the largest message."""


def configured(dialect, *, size=60, writable=range(8, 12)):
    return Exchange({0: VirtioDevice(config=CONFIG[:size], writable=writable)}, dialect)


@pytest.mark.parametrize("offset", [0, 7, 8, 9, 10, 11, 12, 15, 16, 17, 0xFFFF_FFFC, 0xFFFF_FFFF])
@pytest.mark.parametrize("writable", [range(8, 12), range(8, 16)], ids=str)
def test_set_config_is_all_or_nothing(dialect, writable, offset):
    """Writes past the end, and partly or completely outside the writable bytes, are refused."""
    for length in (0, 1, 2, 4, 5, 8, 9, 17, MOST[dialect.revision]):
        exchange = configured(dialect, size=16, writable=writable)
        device = exchange.devices[0]
        data = bytes(range(1, length + 1))
        answer = ask(exchange, "SET_CONFIG", generation=0, offset=offset, data=data)
        applies = length and set(range(offset, offset + length)) <= set(writable)
        assert (answer.offset, answer.number("size")) == (offset, length if applies else 0)
        assert answer.msg_size == 20 + answer.number("size")
        assert answer.data == (data if applies else b"")
        after = bytearray(CONFIG[:16])
        if applies:
            after[offset : offset + length] = data
        assert device.read_config(0, 16) == bytes(after)
        assert answer.generation == device.generation == bool(applies)


@pytest.mark.parametrize("offset", [0, 1, 8, 15, 16, 17, 32, 33, 59, 60, 61, 0xFFFF_FFFF])
def test_get_config_is_all_or_nothing(dialect, offset):
    """A read outside, or of more than a message holds, returns no bytes.

    It is answered all the same: without a response a Linux driver waits 100 s.
    """
    for length in (0, 1, 2, 4, 16, 27, 28, 29, 44, 45, 60, 61, 0xFFFF_FFFF):
        exchange = configured(dialect)
        exchange.devices[0].generation = 7
        answer = ask(exchange, "GET_CONFIG", offset=offset, size=length)
        inside = offset + length <= len(CONFIG) and length <= MOST[dialect.revision]
        read = CONFIG[offset : offset + length] if inside else b""
        assert (answer.offset, answer.number("size"), answer.data) == (offset, len(read), read)
        assert (answer.generation, answer.msg_size) == (7, 20 + len(read))
