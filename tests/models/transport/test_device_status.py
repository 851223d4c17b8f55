# SPDX-License-Identifier: BSD-2-Clause
"""Status of a device: bits that the driver may write, and resets."""

import asyncio

from model_support import settle
from transport_support import Exchange, SlowDrain, ask, console, get_queue, start, write_status

from models.devices import ConsoleDevice
from models.messages import request
from models.virtio import Feature


def test_status_responses_match_the_device(dialect):
    """The response to a write of any 32 bits has the status that the device has then.

    Without a selection, FEATURES_OK and DRIVER_OK are refused (D-11).
    """
    exchange = console(dialect)
    device = exchange.devices[0]
    for status, expected in (
        (0x100, 0),
        (0x8000_0000, 0),
        (0x40, 0),
        (1, 1),
        (3, 3),
        (0x100, 3),
        (0xFFFF_FF00, 3),
        (0x4F, 3),
        (7, 3),
        (0x80, 0x83),
        (0xFFFF_FFFF, 0x83),
        (0, 0),
        (0x00FF_00FF, 0x83),
        (0, 0),
        (0xFFFF_FFFF, 0x83),
        (0, 0),
    ):
        assert write_status(exchange, 0, status) == expected == device.status
        assert ask(exchange, "GET_DEVICE_STATUS").status == expected


def test_status_bits_stay_set_until_reset(dialect):
    """A driver can neither clear a bit, nor skip FEATURES_OK, nor write NEEDS_RESET."""
    exchange = console(dialect)
    start(exchange)
    for status in (0x01, 0x4F, 0x03, 0x100):
        assert write_status(exchange, 0, status) == 0xF
    exchange.devices[0].needs_reset()
    assert ask(exchange, "GET_DEVICE_STATUS").status == 0x4F
    assert write_status(exchange, 0, 0xF) == 0x4F
    assert write_status(exchange, 0, 0) == 0
    # DRIVER_OK before FEATURES_OK, with an acceptable selection.
    write_status(exchange, 0, 1, 3)
    ask(exchange, "SET_FEATURES", index=0, features=[0, 1])
    assert write_status(exchange, 0, 7) == 3


def test_status_zero_resets_the_queues_before_the_response(dialect):
    exchange = console(dialect)
    start(exchange)
    assert get_queue(exchange)[1:3] == (64, 1)
    assert write_status(exchange, 0, 0) == 0
    assert get_queue(exchange) == (64, 0, 0, 0, 0, 0)
    assert exchange.devices[0].selected == 0


def test_function_reset_resets_every_device(exchange):
    start(exchange, 0)
    start(exchange, 3)
    exchange.transport.reset()
    assert [device.status for device in exchange.devices.values()] == [0, 0, 0]
    assert get_queue(exchange, 3) == (64, 0, 0, 0, 0, 0)


async def slow_exchange(dialect):
    exchange = Exchange({0: SlowDrain(), 1: ConsoleDevice()}, dialect)
    device = exchange.transport.devices[0]
    for status in (1, 3):
        device.write_status(status)
    device.select_word(1, 1 | 1 << Feature.RING_RESET - 32)
    device.write_status(0xB)
    device.queues[0].configure(size=16, descriptor_addr=0, driver_addr=0, device_addr=0)
    device.write_status(0xF)
    assert device.running
    return exchange, device


async def responses_around_drain(dialect, *messages):
    """Responses before and after the last access of the device completes."""
    exchange, device = await slow_exchange(dialect)

    async def send_all():
        for message in messages:
            await exchange.transport.receive(message.wire())

    sending = asyncio.create_task(send_all())
    await settle()
    before = len(exchange.sent)
    device.gate.set()
    await sending
    answers = [dialect.decode(raw) for raw in exchange.sent]
    return answers[:before], answers[before:], device


async def test_reset_response_waits_for_the_last_access(dialect):
    """No response has status 0 before that, not even to a later request."""
    before, after, device = await responses_around_drain(
        dialect,
        request("SET_DEVICE_STATUS", revision=dialect, token=1, status=0),
        request("GET_DEVICE_STATUS", revision=dialect, token=2),
    )
    assert before == []
    assert [(answer.token, answer.status) for answer in after] == [(1, 0), (2, 0)]
    assert device.status == 0 and not device.queues[0].enabled


async def test_queue_reset_response_waits_for_the_last_access(dialect):
    before, after, device = await responses_around_drain(
        dialect,
        request("RESET_VQUEUE", revision=dialect, token=1, index=0),
        request("GET_VQUEUE", revision=dialect, token=2, index=0),
    )
    assert before == []
    assert [answer.token for answer in after] == [1, 2]
    assert (after[1].number("size"), after[1].fields.get("flags", 0)) == (0, 0)
    assert device.running
