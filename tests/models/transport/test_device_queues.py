# SPDX-License-Identifier: BSD-2-Clause
"""Set-up and reset of the queues of a device."""

import itertools

import pytest
from transport_support import (
    DIALECTS,
    ENABLE,
    KEEP_ALL,
    RING,
    RING_SIZE,
    Exchange,
    ask,
    avail,
    console,
    devices,
    dropped,
    get_queue,
    negotiate,
    set_queue,
    start,
    write_status,
)

from models.devices import ConsoleDevice
from models.handlers import Drop
from models.messages import R1, V1, QueueOperation
from models.virtio import Feature

ADDRESSES = (0x11000, 0x12000, 0x13000)
SIZES = {**dict(zip(RING, ADDRESSES, strict=True)), "size": 16}
KEEPS = {"size": 0x04, "descriptor_addr": 0x08, "driver_addr": 0x10, "device_addr": 0x20}
EMPTY_QUEUE = (64, 0, 0, 0, 0, 0)
"""A queue of a console before its set-up."""


def ring_reset_console(dialect):
    device = ConsoleDevice()
    device.offered |= Feature.RING_RESET.mask
    return Exchange({0: device, 1: ConsoleDevice()}, dialect)


def test_get_vqueue_reports_maximum_and_set_values(exchange):
    """Each queue has its own maximum, which a driver may set; its size is 0 until then."""
    ring = tuple(RING.values())
    for number, most in ((0, 256), (3, 64), (31, 128)):
        negotiate(exchange, number)
        assert get_queue(exchange, number) == (most, 0, 0, 0, 0, 0)
        set_queue(exchange, number, size=most)
        assert get_queue(exchange, number) == (most, most, 1, *ring)
    assert get_queue(exchange, 3, 1) == EMPTY_QUEUE
    set_queue(exchange, 3, index=1, size=16)
    assert get_queue(exchange, 3, 1) == (64, 16, 1, *ring)
    write_status(exchange, 3, 0)
    assert get_queue(exchange, 3) == get_queue(exchange, 3, 1) == EMPTY_QUEUE


@pytest.mark.parametrize("negotiated", [False, True])
@pytest.mark.parametrize("index", [2, 1023, 1024, 0xFFFF, 0x1_0000, 0x8000_0000, 0xFFFF_FFFF])
def test_missing_queue_reads_zero_and_does_not_change(dialect, index, negotiated):
    """The response to GET_VQUEUE has the index; the others are the usual ones."""
    exchange = ring_reset_console(dialect)
    start(exchange, features=negotiated * Feature.RING_RESET.mask)
    before = exchange.state()
    assert get_queue(exchange, index=index) == (0, 0, 0, 0, 0, 0)
    set_queue(exchange, index=index)
    assert ask(exchange, "RESET_VQUEUE", index=index).msg_size == 8
    assert get_queue(exchange, index=index) == (0, 0, 0, 0, 0, 0)
    assert exchange.state() == before


@pytest.mark.parametrize("kept", [n << 2 for n in range(16)])
@pytest.mark.parametrize("operation", [0, 2])
def test_set_vqueue_applies_fields_without_keep_flags(operation, kept):
    exchange = console()
    negotiate(exchange)
    set_queue(exchange, flags=0)
    set_queue(exchange, flags=operation | kept, **SIZES)
    wanted = {**RING, "size": RING_SIZE}
    wanted.update({name: SIZES[name] for name, bit in KEEPS.items() if not kept & bit})
    expected = (wanted["size"], 0, *(wanted[name] for name in RING))
    assert get_queue(exchange)[1:] == expected


NOTHING = {
    "reserved word": {"reserved": 1},
    "reserved word, highest bit": {"reserved": 1 << 31},
    "size 0": {"size": 0},
    "size above the maximum": {"size": 128},
    "size 512": {"size": 512},
    "size 0x100000": {"size": 0x10_0000},
    "size 0xffffffff": {"size": 0xFFFF_FFFF},
    "size no power of two": {"size": 48},
}
NOTHING_WITH_FLAGS = {
    "operation 3": {"flags": 3},
    **{f"flag {bit}": {"flags": ENABLE | 1 << bit} for bit in (6, 7, 15, 16, 31)},
    "enable what was never set up": {"flags": ENABLE | KEEP_ALL},
    "enable what was set up in part": {"flags": ENABLE | 0x20},
}
INVALID = [
    *((dialect, change) for dialect in DIALECTS.values() for change in NOTHING.values()),
    *((R1, change) for change in NOTHING_WITH_FLAGS.values()),
]


@pytest.mark.parametrize(("revision", "change"), INVALID, ids=str)
def test_invalid_set_vqueue_changes_nothing(revision, change):
    """Not even the valid values are applied; the response is the usual one."""
    exchange = console(revision)
    negotiate(exchange)
    before = exchange.state()
    set_queue(exchange, **change)
    assert exchange.state() == before
    for index in range(2):
        assert get_queue(exchange, index=index) == EMPTY_QUEUE
    # The same for a queue with size and addresses, which v1 cannot set without enabling it.
    if revision is R1 and change.get("flags", ENABLE) & KEEP_ALL == 0:
        set_queue(exchange, flags=0, size=16)
        before = get_queue(exchange)
        set_queue(exchange, **{"size": 32, "descriptor_addr": 0x99000, **change})
        assert get_queue(exchange) == before


@pytest.mark.parametrize(
    ("revision", "flags"),
    [(V1, ENABLE), *((R1, operation | n << 2) for operation in range(4) for n in range(16))],
    ids=str,
)
def test_set_vqueue_does_not_change_an_enabled_queue(revision, flags):
    """Neither the fields nor the state of an enabled queue change for any operation."""
    exchange = Exchange(devices(), revision)
    start(exchange)
    before = exchange.state()
    assert get_queue(exchange) == (256, RING_SIZE, 1, *RING.values())
    set_queue(exchange, flags=flags, **SIZES)
    assert get_queue(exchange) == (256, RING_SIZE, 1, *RING.values())
    assert exchange.state() == before


def test_set_vqueue_ignores_the_flags_of_newer_drivers():
    exchange = console(V1)
    ask(exchange, "SET_VQUEUE", index=0, size=16, unused=1, **RING)
    assert get_queue(exchange) == (64, 16, 1, *RING.values())


def test_set_vqueue_states():
    exchange = console()
    negotiate(exchange)
    for operation, kept in itertools.product((QueueOperation.KEEP_DISABLED, 2), (0, KEEP_ALL)):
        set_queue(exchange, flags=operation | kept)
        assert get_queue(exchange) == (64, RING_SIZE, 0, *RING.values())
    # One message sets the fields, then the state.
    set_queue(exchange, flags=ENABLE, **SIZES)
    assert get_queue(exchange)[1:] == (16, 1, *ADDRESSES)
    set_queue(exchange, flags=QueueOperation.KEEP | KEEP_ALL)
    assert get_queue(exchange)[1:] == (16, 1, *ADDRESSES)
    # A queue that has all fields is enabled with all of them kept.
    set_queue(exchange, index=1, flags=0, size=16)
    set_queue(exchange, index=1, flags=ENABLE | KEEP_ALL)
    assert get_queue(exchange, index=1)[1:] == (16, 1, *RING.values())


def test_queue_addresses_may_be_0(dialect):
    exchange = console(dialect)
    negotiate(exchange)
    set_queue(exchange, **dict.fromkeys(RING, 0))
    assert get_queue(exchange)[1:] == (RING_SIZE, 1, 0, 0, 0)


@pytest.mark.parametrize("negotiated", [False, True])
def test_reset_vqueue_needs_ring_reset(dialect, negotiated):
    """It is answered in any case. A queue that was reset can be set up again."""
    exchange = ring_reset_console(dialect)
    start(exchange, features=negotiated * Feature.RING_RESET.mask)
    set_queue(exchange, index=1)
    before = get_queue(exchange)
    assert ask(exchange, "RESET_VQUEUE", index=0).msg_size == 8
    assert get_queue(exchange) == (EMPTY_QUEUE if negotiated else before)
    assert get_queue(exchange, index=1)[2] == 1 and exchange.devices[0].running
    if negotiated:
        dropped(exchange, avail(revision=dialect), Drop.NO_QUEUE)
        set_queue(exchange, **SIZES)
        assert get_queue(exchange)[1:] == (16, 1, *ADDRESSES)
