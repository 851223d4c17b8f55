# SPDX-License-Identifier: BSD-2-Clause
"""Requests and events of the driver, over a scripted bus."""

import asyncio

import pytest
from model_support import settle
from scripted_bus import ScriptedBus, driver_of, status

from models.driver import (
    DriverStoppedError,
    ProtocolError,
    RequestTimeoutError,
    Unclaimed,
)
from models.messages import FieldRangeError, event, request


async def test_responses_match_requests_in_any_order():
    bus = ScriptedBus()
    async with driver_of(bus) as driver:
        waiting = [
            asyncio.create_task(driver.request("GET_DEVICE_STATUS", dev_num=n)) for n in range(4)
        ]
        await settle()
        assert len(bus.sent) == 4
        assert len({message.token for message in bus.sent}) == 4
        assert 0 not in {message.token for message in bus.sent}
        for message in reversed(bus.sent):
            bus.give(message.respond(status=message.dev_num))
        assert [(await task).status for task in waiting] == [0, 1, 2, 3]
        assert driver.unclaimed.total() == 0


async def test_one_outstanding_request_per_device():
    bus = ScriptedBus()
    async with driver_of(bus) as driver:
        waiting = [
            asyncio.create_task(driver.request("GET_DEVICE_STATUS", dev_num=1)) for _ in range(3)
        ]
        for n in range(3):
            await settle()
            assert len(bus.sent) == n + 1
            bus.give(bus.sent[n].respond(status=n))
        assert [(await task).status for task in waiting] == [0, 1, 2]


@pytest.mark.parametrize(
    "change",
    [
        {"token": 999},
        {"dev_num": 3},
        {"name": "SET_DEVICE_STATUS"},
    ],
    ids=str,
)
async def test_response_that_differs_does_not_match(change):
    bus = ScriptedBus()
    async with driver_of(bus) as driver:
        waiting = asyncio.create_task(driver.request("GET_DEVICE_STATUS", dev_num=2))
        await settle()
        (asked,) = bus.sent
        header = {"name": asked.name, "dev_num": 2, "token": asked.token} | change
        bus.give(asked.dialect.message(kind="response", status=0xFF, **header))
        await settle()
        assert not waiting.done()
        assert driver.unclaimed == {Unclaimed.UNMATCHED: 1}
        bus.give(asked.respond(status=1))
        assert (await waiting).status == 1


async def test_bus_response_does_not_match_a_device_request():
    # GET_DEVICES and DEVICE_INFO have the same ID, and may have the same dev_num and token.
    bus = ScriptedBus()
    async with driver_of(bus) as driver:
        waiting = asyncio.create_task(driver.request("DEVICE_INFO", dev_num=0))
        await settle()
        token = bus.sent[0].token
        bus.give(
            request("BUS_GET_DEVICES", token=token, offset=0, num=0).respond(
                offset=0, num=0, next_offset=0, bitmap=b""
            )
        )
        await settle()
        assert not waiting.done()
        waiting.cancel()


async def test_second_response_is_ignored():
    bus = ScriptedBus()
    async with driver_of(bus) as driver:
        waiting = asyncio.create_task(driver.request("GET_DEVICE_STATUS"))
        await settle()
        bus.give(bus.sent[0].respond(status=1))
        bus.give(bus.sent[0].respond(status=2))
        assert (await waiting).status == 1
        await settle()
        assert driver.unclaimed == {Unclaimed.UNMATCHED: 1}


async def test_request_times_out_and_ignores_a_late_response():
    bus = ScriptedBus()
    async with driver_of(bus, timeout_us=2000) as driver:
        with pytest.raises(
            RequestTimeoutError, match="GET_DEVICE_STATUS to device 7: no response for 2000 us"
        ):
            await driver.request("GET_DEVICE_STATUS", dev_num=7)
        with pytest.raises(RequestTimeoutError, match="BUS_PING to the bus: no response"):
            await driver.ping()
        bus.give(bus.sent[0].respond(status=0xEE))
        await settle()
        assert driver.unclaimed == {Unclaimed.UNMATCHED: 1}
        bus.answers["GET_DEVICE_STATUS"] = status(5)
        assert (await driver.request("GET_DEVICE_STATUS", dev_num=7)).status == 5


async def test_unclaimed_messages_are_counted():
    bus = ScriptedBus()
    async with driver_of(bus) as driver:
        bus.give(b"\xff" * 64)
        bus.give(b"")
        bus.give(request("GET_DEVICE_STATUS"))
        await settle()
        assert driver.unclaimed == {Unclaimed.MALFORMED: 2, Unclaimed.UNEXPECTED: 1}


async def test_pings_are_answered_and_responses_are_not():
    bus = ScriptedBus()
    async with driver_of(bus) as driver:
        bus.give(request("BUS_PING", token=0x77, data=0xCAFE))
        await settle()
        (answer,) = bus.sent
        assert (answer.name, answer.kind, answer.token) == ("BUS_PING", "response", 0x77)
        assert answer.data == 0xCAFE
        bus.give(answer)
        await settle()
        assert len(bus.sent) == 1
        assert driver.unclaimed == {Unclaimed.UNMATCHED: 1}


async def test_full_driver_queue_does_not_stop_receiving():
    # With both queues full, each side waits for the other to receive. The receive task must not
    # wait for the response to a ping.
    bus = ScriptedBus()
    stuck = asyncio.Event()

    async def send(raw):
        await stuck.wait()

    async with driver_of(bus) as driver:
        bus.send = send
        events = driver.subscribe()
        bus.give(request("BUS_PING", data=1))
        bus.give(event("EVENT_USED", index=0))
        assert await events.get(timeout_us=1e6) is not None


async def test_ping_checks_the_echo():
    bus = ScriptedBus(BUS_PING=lambda message: message.respond(data=message.data ^ 1))
    async with driver_of(bus) as driver:
        with pytest.raises(ProtocolError, match="BUS_PING: data is 4: must be 5"):
            await driver.ping(5)


async def test_events_reach_callbacks_and_their_subscribers():
    bus = ScriptedBus()
    async with driver_of(bus) as driver:
        called = []
        driver.event_callbacks.append(called.append)
        everything, third = driver.subscribe(), driver.subscribe(3)
        bus.give(event("EVENT_USED", dev_num=2, index=0))
        bus.give(event("EVENT_USED", dev_num=3, index=1))
        await settle()
        assert [message.dev_num for message in called] == [2, 3]
        assert len(everything) == 2
        assert (await third.get()).index == 1
        assert len(third) == 0
        driver.unsubscribe(third)
        bus.give(event("EVENT_USED", dev_num=3, index=1))
        await settle()
        assert len(third) == 0


async def test_request_of_a_stopped_driver_fails():
    bus = ScriptedBus()
    driver = driver_of(bus)
    with pytest.raises(DriverStoppedError, match="the driver is not running"):
        await driver.request("GET_DEVICE_STATUS")
    await driver.start()
    waiting = asyncio.create_task(driver.request("GET_DEVICE_STATUS"))
    await settle()
    driver.stop()
    with pytest.raises(DriverStoppedError, match="the driver was stopped"):
        await waiting


async def test_invalid_fields_are_not_sent():
    bus = ScriptedBus()
    async with driver_of(bus) as driver:
        with pytest.raises(FieldRangeError):
            await driver.request("GET_VQUEUE", index=1 << 32)
        assert bus.sent == []


async def test_tokens_wrap_and_skip_zero():
    bus = ScriptedBus(GET_DEVICE_STATUS=status(0))
    async with driver_of(bus) as driver:
        driver._token = 0xFFFD
        for _ in range(4):
            await driver.request("GET_DEVICE_STATUS")
        assert [message.token for message in bus.sent] == [0xFFFE, 0xFFFF, 1, 2]


# Discovery


def windows(devices, size, /, **change):
    """Responder to GET_DEVICES for the bits of ``devices``, ``size`` numbers per response."""

    def answer(message):
        offset = message.offset
        bits = devices >> offset & (1 << size) - 1
        following = offset + size if devices >> offset + size else 0
        fields = {"offset": offset, "num": size, "next_offset": following}
        fields["bitmap"] = bits.to_bytes((size + 7) // 8, "little")
        return message.respond(**(fields | change))

    return answer


@pytest.mark.parametrize("size", [1, 3, 8, 32])
async def test_discovery_follows_next_offset(size):
    numbers = [0, 2, 3, 17, 40]
    bus = ScriptedBus(BUS_GET_DEVICES=windows(sum(1 << n for n in numbers), size))
    async with driver_of(bus) as driver:
        assert await driver.discover() == numbers
    assert (bus.sent[0].offset, bus.sent[0].num) == (0, 32)
    assert len(bus.sent) == -(-41 // size)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"offset": 1}, "offset is 1: must be 0"),
        ({"num": 33, "bitmap": bytes(5)}, "num is 33: must be at most 32"),
    ],
)
async def test_discovery_refuses_an_invalid_response(change, text):
    bus = ScriptedBus(BUS_GET_DEVICES=windows(1, 32, **change))
    async with driver_of(bus) as driver:
        with pytest.raises(ProtocolError, match=text):
            await driver.discover()


async def test_discovery_ends_with_the_last_number():
    """Device numbers have 16 bits: the last window is shorter, and so is its response."""
    numbers = [3, 0xFFF9, 0xFFFF]
    bits = sum(1 << n for n in numbers)

    def last(message, size):
        if message.offset == 0:
            return windows(bits, 32, next_offset=0xFFF8)(message)
        return windows(bits, size)(message)

    bus = ScriptedBus(BUS_GET_DEVICES=lambda message: last(message, message.num))
    async with driver_of(bus) as driver:
        assert await driver.discover() == numbers
        assert [(m.offset, m.num) for m in bus.sent] == [(0, 32), (0xFFF8, 8)]
        bus.answers["BUS_GET_DEVICES"] = lambda message: last(message, 9)
        with pytest.raises(ProtocolError, match="num is 9: must be at most 8"):
            await driver.discover()


async def test_discovery_does_not_loop():
    bus = ScriptedBus(BUS_GET_DEVICES=windows(1, 8, next_offset=8))
    async with driver_of(bus) as driver:
        with pytest.raises(ProtocolError, match="next_offset is 8: must be 0 or above 8"):
            await driver.discover()
    assert len(bus.sent) == 2
