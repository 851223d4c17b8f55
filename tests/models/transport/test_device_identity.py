# SPDX-License-Identifier: BSD-2-Clause
"""What a device reports of itself: device information, UUID, shared memory."""

import struct
from uuid import uuid4

import pytest
from transport_support import Exchange, ask, console, get_queue, start, write_status

from models.devices import (
    BlockDevice,
    ConsoleDevice,
    EntropyDevice,
    NetworkDevice,
    SharedMemory,
    VirtioDevice,
)
from models.messages import R1, request

# Device ID, size of configuration space, number of queues.
DEVICES = [
    (VirtioDevice, 0, 0, 0),
    (NetworkDevice, 1, 12, 2),
    (BlockDevice, 2, 60, 1),
    (ConsoleDevice, 3, 12, 2),
    (EntropyDevice, 4, 0, 1),
]


@pytest.mark.parametrize(("kind", "device_id", "config_size", "queues"), DEVICES)
def test_device_info(dialect, kind, device_id, config_size, queues):
    """The limits are those of the device: exactly the counted queues have a maximum size."""
    device = kind()
    exchange = Exchange({0: device}, dialect)
    info = ask(exchange, "DEVICE_INFO")
    assert (info.device_id, info.vendor_id) == (device_id, 0x1AF4)
    assert info.config_size == config_size == device.config_size
    assert info.max_vqs == queues
    bits = info.num_feature_blocks * 32 if dialect is R1 else info.num_feature_bits
    assert bits == 64 >= device.offered.bit_length()
    assert (info.admin_vq_idx, info.admin_vq_count) == (0, 0)
    for index in range(queues + 2):
        assert bool(get_queue(exchange, index=index)[0]) == (index < queues)


def test_device_info_at_any_status(dialect):
    exchange = console(dialect)
    first = ask(exchange, "DEVICE_INFO")
    start(exchange)
    assert ask(exchange, "DEVICE_INFO") == first
    exchange.devices[0].needs_reset()
    assert ask(exchange, "DEVICE_INFO") == first
    for status in (0, 1, 3, 0x83):
        write_status(exchange, 0, status)
        assert ask(exchange, "DEVICE_INFO") == first


def test_uuid_is_reported():
    with_uuid, without_uuid = ConsoleDevice(), ConsoleDevice()
    with_uuid.uuid = uuid4()
    exchange = Exchange({0: with_uuid, 1: without_uuid}, R1)
    raw = ask(exchange, "DEVICE_INFO").device_uuid
    assert raw == with_uuid.uuid.bytes and (raw[6] >> 4, raw[8] >> 6) == (4, 0b10)
    assert ask(exchange, "DEVICE_INFO", 1).device_uuid == bytes(16)


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
