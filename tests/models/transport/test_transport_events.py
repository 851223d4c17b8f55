# SPDX-License-Identifier: BSD-2-Clause
"""Notifications through the transport. D-nn are the known defects of the series."""

import asyncio

import pytest
from model_support import ask, bring_up, dropped

from models.messages import decode, event
from models.transport import Drop, TransportError

EMPTY = 5
"""Device number without a device."""


# Notifications: D-15, D-17, D-20, D-21


def avail(index, dev_num=0):
    return event("EVENT_AVAIL", dev_num=dev_num, index=index, next_offset=0, next_wrap=0).wire()


def test_event_avail_reaches_the_queue(exchange):
    bring_up(exchange)
    assert exchange.ask_bytes(avail(0)) == []
    assert exchange.transport.devices[0].queues[0].notifications == 1
    assert exchange.transport.drops.total() == 0


def test_event_avail_before_driver_ok_is_dropped(exchange):
    dropped(exchange, avail(0), Drop.NOT_RUNNING)
    assert ask(exchange, "GET_DEVICE_STATUS").status == 0
    bring_up(exchange)
    exchange.ask_bytes(avail(0))
    assert exchange.transport.devices[0].queues[0].notifications == 1


@pytest.mark.parametrize("index", [1, 0x1_0000, 0xFFFF_FFFF])
def test_event_avail_uses_the_whole_index(exchange, index):
    bring_up(exchange)
    dropped(exchange, avail(index), Drop.NO_QUEUE)
    assert exchange.transport.devices[0].queues[0].notifications == 0


def test_event_avail_for_a_queue_not_set_up(exchange):
    bring_up(exchange, dev_num=3)
    dropped(exchange, avail(1, dev_num=3), Drop.NO_QUEUE)


def test_events_to_the_driver(exchange):
    transport = exchange.transport
    bring_up(exchange, dev_num=3)
    exchange.sent.clear()
    asyncio.run(transport.notify_used(3, 1))
    transport.devices[3].resize(3, 4)
    asyncio.run(transport.notify_config(3))
    asyncio.run(transport.notify_used(3, 0))
    used, config, again = (decode(raw) for raw in exchange.sent)
    assert (used.name, used.dev_num, used.index, used.token) == ("EVENT_USED", 3, 1, 0)
    assert (config.name, config.status, config.generation) == ("EVENT_CONFIG", 0xF, 1)
    assert (config.offset, config.size, config.msg_size) == (0, 0, 24)
    assert (again.name, again.index) == ("EVENT_USED", 0)


def test_no_events_before_driver_ok(exchange):
    asyncio.run(exchange.transport.notify_used(0, 0))
    asyncio.run(exchange.transport.notify_config(0))
    assert exchange.sent == []


def test_needs_reset_sends_event_config_and_stops_event_used(exchange):
    bring_up(exchange)
    exchange.sent.clear()
    exchange.transport.devices[0].needs_reset()
    asyncio.run(exchange.transport.notify_config(0))
    asyncio.run(exchange.transport.notify_used(0, 0))
    (message,) = (decode(raw) for raw in exchange.sent)
    assert (message.name, message.status) == ("EVENT_CONFIG", 0x4F)


def test_events_need_a_device_and_a_queue(exchange):
    with pytest.raises(TransportError, match="device number is 5: there is no such device"):
        asyncio.run(exchange.transport.notify_config(EMPTY))
    with pytest.raises(TransportError, match="queue is 1: device 0 has 1"):
        asyncio.run(exchange.transport.notify_used(0, 1))
