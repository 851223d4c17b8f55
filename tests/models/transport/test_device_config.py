# SPDX-License-Identifier: BSD-2-Clause
"""Transport revision 1, configuration of a device: rows DEV of docs/conformance.md."""

import asyncio

import pytest
from model_support import Exchange, ask
from transport_support import PROFILES, console, start

from models.devices import VirtioDevice
from models.messages import R1, decode


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("generation", [0, 4, 5, 6, 0xFFFF_FFFF])
def test_generation_of_a_write(profile, generation):
    exchange = console(PROFILES[profile])
    device = exchange.transport.devices[0]
    device.generation = 5
    data = b"A\0\0\0"
    answer = ask(exchange, "SET_CONFIG", generation=generation, offset=8, data=data)
    applied = profile == "baseline" or generation == 5
    assert answer.data == (data if applied else b"")
    assert answer.generation == device.generation == (6 if applied else 5)
    assert bytes(device.output) == (b"A" if applied else b"")
    assert device.read_config(8, 4) == (data if applied else bytes(4))


def test_messages_have_the_current_generation():
    """Every response and event has the current generation, which each change advances."""
    exchange = console()
    device = exchange.transport.devices[0]
    device.generation = 0xFFFF_FFFE
    start(exchange)
    seen = []
    for cols in (81, 82, 83):
        read = ask(exchange, "GET_CONFIG", offset=0, length=2)
        written = ask(exchange, "SET_CONFIG", generation=0, offset=0, data=b"no")
        asyncio.run(exchange.transport.notify_config(0))
        event = decode(exchange.sent[-1], R1)
        generations = {read.generation, written.generation, event.generation, device.generation}
        assert len(generations) == 1
        seen.append(device.generation)
        device.resize(cols, 25)
    assert seen == [0xFFFF_FFFE, 0xFFFF_FFFF, 0]
    written = ask(exchange, "SET_CONFIG", generation=0, offset=8, data=b"A\0\0\0")
    assert written.generation == device.generation == 2


CONFIG = bytes(range(100, 116))
WRITABLE = range(8, 12)


def configured():
    return Exchange({0: VirtioDevice(config=CONFIG, writable=WRITABLE)}, R1)


@pytest.mark.parametrize("length", [0, 1, 4, 5, 9, 17, 44])
@pytest.mark.parametrize("offset", [0, 7, 8, 9, 11, 12, 15, 16, 17, 0xFFFF_FFFF])
def test_set_config_is_all_or_nothing(offset, length):
    """Writes past the end, and partly or completely outside the writable bytes, are refused."""
    exchange = configured()
    device = exchange.transport.devices[0]
    data = bytes(range(1, length + 1))
    answer = ask(exchange, "SET_CONFIG", generation=0, offset=offset, data=data)
    applies = length and set(range(offset, offset + length)) <= set(WRITABLE)
    assert (answer.offset, answer.length) == (offset, length if applies else 0)
    assert answer.msg_size == 20 + answer.length and answer.data == (data if applies else b"")
    after = bytearray(CONFIG)
    if applies:
        after[offset : offset + length] = data
    assert device.read_config(0, len(CONFIG)) == bytes(after)
    assert device.generation == bool(applies)


@pytest.mark.parametrize("length", [0, 1, 4, 16, 17, 44, 45, 0xFFFF_FFFF])
@pytest.mark.parametrize("offset", [0, 1, 12, 15, 16, 17, 0xFFFF_FFFF])
def test_get_config_is_all_or_nothing(offset, length):
    """A read outside, or larger than a message, returns no bytes."""
    exchange = configured()
    answer = ask(exchange, "GET_CONFIG", offset=offset, length=length)
    read = CONFIG[offset : offset + length] if offset + length <= len(CONFIG) else b""
    assert (answer.offset, answer.length, answer.data) == (offset, len(read), read)
    assert answer.msg_size == 20 + len(read)
