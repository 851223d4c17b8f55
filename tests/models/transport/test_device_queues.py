# SPDX-License-Identifier: BSD-2-Clause
"""Transport revision 1, queues of a device: rows DEV of docs/conformance.md."""

import itertools
import struct

import pytest
from model_support import RING, Exchange, ask
from transport_support import (
    ENABLE,
    KEEP_ALL,
    RING_SIZE,
    avail,
    console,
    get_queue,
    negotiate,
    set_queue,
    start,
)

from models.devices import ConsoleDevice, SharedMemory
from models.handlers import Drop
from models.messages import R1, QueueOperation, request
from models.virtio import Feature

SIZES = {"desc_addr": 0x11000, "driver_addr": 0x12000, "device_addr": 0x13000, "size": 16}
KEEPS = {"size": 0x04, "desc_addr": 0x08, "driver_addr": 0x10, "device_addr": 0x20}


def test_get_vqueue():
    exchange = console()
    device = exchange.transport.devices[0]
    negotiate(exchange)
    assert get_queue(exchange) == (64, 0, 0, 0, 0, 0)
    ring = tuple(RING.values())
    set_queue(exchange, flags=0, size=16)
    assert get_queue(exchange) == (64, 16, 0, *ring)
    set_queue(exchange, flags=ENABLE | KEEP_ALL)
    assert get_queue(exchange) == (64, 16, 1, *ring)
    assert device.queues[0].enabled
    assert get_queue(exchange, index=1) == (64, 0, 0, 0, 0, 0)
    ask(exchange, "SET_DEVICE_STATUS", status=0)
    assert get_queue(exchange) == (64, 0, 0, 0, 0, 0)


@pytest.mark.parametrize("index", [2, 0xFFFF, 0x1_0000, 0x8000_0000, 0xFFFF_FFFF])
def test_get_vqueue_of_a_missing_queue_is_zero(index):
    exchange = console()
    negotiate(exchange)
    set_queue(exchange)
    assert get_queue(exchange, index=index) == (0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize("kept", [n << 2 for n in range(16)])
@pytest.mark.parametrize("operation", [0, 2])
def test_set_vqueue_applies_fields_without_keep_flags(operation, kept):
    exchange = console()
    negotiate(exchange)
    set_queue(exchange, flags=0)
    set_queue(exchange, flags=operation | kept, **SIZES)
    wanted = {"size": RING_SIZE, **dict(zip(KEEPS, (RING_SIZE, *RING.values()), strict=True))}
    wanted.update({name: SIZES[name] for name, bit in KEEPS.items() if not kept & bit})
    _, size, flags, desc, driver, device = get_queue(exchange)
    assert {"size": size, "desc_addr": desc, "driver_addr": driver, "device_addr": device} == wanted
    assert flags == 0


NOTHING = {
    "operation 3": {"flags": 3},
    **{f"flag {bit}": {"flags": ENABLE | 1 << bit} for bit in (6, 7, 15, 16, 31)},
    "reserved word": {"reserved": 1},
    "reserved word, highest bit": {"reserved": 1 << 31},
    "size 0": {"size": 0},
    "size above the maximum": {"size": 128},
    "size no power of two": {"size": 48},
    "no queue 2": {"index": 2},
    "no queue 0xffffffff": {"index": 0xFFFF_FFFF},
    "enable what was never set up": {"flags": ENABLE | KEEP_ALL},
    "enable what was set up in part": {"flags": ENABLE | 0x20},
}


@pytest.mark.parametrize("change", NOTHING.values(), ids=NOTHING)
def test_invalid_set_vqueue_changes_nothing(change):
    """Not even the valid values are applied; the response is the usual one."""
    exchange = console()
    negotiate(exchange)
    set_queue(exchange, **change)
    for index in range(2):
        assert get_queue(exchange, index=index) == (64, 0, 0, 0, 0, 0)
    # The same for a queue with size and addresses.
    if change.get("flags", ENABLE) & 0x3C == 0:
        set_queue(exchange, flags=0, size=16)
        before = get_queue(exchange)
        set_queue(exchange, **{"size": 32, "desc_addr": 0x99000, **change})
        assert get_queue(exchange) == before


@pytest.mark.parametrize("operation", range(4))
@pytest.mark.parametrize("kept", [n << 2 for n in range(16)])
def test_set_vqueue_does_not_change_an_enabled_queue(operation, kept):
    """Neither the fields nor the state of an enabled queue change for any operation."""
    exchange = console()
    start(exchange)
    before = get_queue(exchange)
    assert before[2] == 1
    set_queue(exchange, flags=operation | kept, **SIZES)
    assert get_queue(exchange) == before


def test_set_vqueue_states():
    exchange = console()
    negotiate(exchange)
    for operation, kept in itertools.product((QueueOperation.KEEP_DISABLED, 2), (0, KEEP_ALL)):
        set_queue(exchange, flags=operation | kept)
        assert get_queue(exchange)[2] == 0
    # One message sets the fields, then the state.
    set_queue(exchange, flags=ENABLE, **SIZES)
    assert get_queue(exchange)[1:] == (16, 1, 0x11000, 0x12000, 0x13000)
    set_queue(exchange, flags=QueueOperation.KEEP | KEEP_ALL)
    assert get_queue(exchange)[2] == 1
    # 0 is a valid address.
    set_queue(exchange, index=1, desc_addr=0, driver_addr=0, device_addr=0)
    assert get_queue(exchange, index=1)[1:] == (RING_SIZE, 1, 0, 0, 0)


@pytest.mark.parametrize("negotiated", [False, True])
def test_reset_vqueue(negotiated):
    device = ConsoleDevice()
    device.offered |= Feature.RING_RESET.mask
    exchange = Exchange({0: device}, R1)
    start(exchange, features=negotiated * Feature.RING_RESET.mask)
    set_queue(exchange, index=1)
    before = get_queue(exchange)
    for index in (2, 0x1_0000, 0xFFFF_FFFF):
        assert ask(exchange, "RESET_VQUEUE", index=index).msg_size == 8
    assert get_queue(exchange) == before
    assert ask(exchange, "RESET_VQUEUE", index=0).msg_size == 8
    assert get_queue(exchange) == ((64, 0, 0, 0, 0, 0) if negotiated else before)
    assert get_queue(exchange, index=1)[2] == 1 and device.running
    if negotiated:
        exchange.ask_bytes(avail())
        assert exchange.transport.drops == {Drop.NO_QUEUE: 1}
        set_queue(exchange, **SIZES)
        assert get_queue(exchange)[1:] == (16, 1, 0x11000, 0x12000, 0x13000)


def test_get_shm():
    device = ConsoleDevice()
    device.shared_memory = {
        0: SharedMemory(address=0x1_2345_6789_ABCD, length=0xFFFF_0000_0000),
        0xFFFF_FFFF: SharedMemory(address=0, length=1),
    }
    exchange = Exchange({0: device, 1: ConsoleDevice()}, R1)

    def region(dev_num, shmid):
        (raw,) = (exchange.ask(m) and exchange.sent[-1] for m in [get_shm(dev_num, shmid)])
        found, reserved, length, address = struct.unpack_from("<IIQQ", raw, 8)
        assert (found, reserved) == (shmid, 0)
        return address, length

    def get_shm(dev_num, shmid):
        return request("GET_SHM", revision=R1, dev_num=dev_num, shmid=shmid)

    assert region(0, 0) == (0x1_2345_6789_ABCD, 0xFFFF_0000_0000)
    assert region(0, 0xFFFF_FFFF) == (0, 1)
    for shmid in (1, 0x1_0000, 0x7FFF_FFFF):
        assert region(0, shmid) == (0, 0)
    assert region(1, 0) == (0, 0)
