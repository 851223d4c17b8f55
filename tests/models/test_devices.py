# SPDX-License-Identifier: BSD-2-Clause
"""Virtio devices without a transport."""

import pytest

from models.devices import BlockDevice, ConsoleDevice, EntropyDevice, VirtioDevice
from models.virtio import BASE_FEATURES, DeviceStatus, Feature

BOTH = Feature.VERSION_1.mask | Feature.ACCESS_PLATFORM.mask


def select(device, features):
    for index in range(2):
        device.select_word(index, features >> 32 * index & 0xFFFF_FFFF)


def bring_up(device, features=BOTH):
    device.write_status(1)
    device.write_status(3)
    select(device, features)
    device.write_status(0xB)
    device.write_status(0xF)


@pytest.mark.parametrize(
    ("device", "device_id", "queues", "config_size", "features"),
    [
        (EntropyDevice(), 4, 1, 0, 0),
        (ConsoleDevice(), 3, 2, 12, 1 << 0 | 1 << 2),
        (BlockDevice(), 2, 1, 60, 1 << 2 | 1 << 6 | 1 << 9),
    ],
)
def test_identification_and_features(device, device_id, queues, config_size, features):
    assert device.device_id == device_id
    assert len(device.queues) == queues
    assert device.config_size == config_size
    assert device.offered == features | BASE_FEATURES


def test_offered_words():
    device = ConsoleDevice()
    assert [device.offered_word(n) for n in (0, 1, 2, 0xFFFF_FFFF)] == [5, 0x13, 0, 0]


def test_console_and_block_configuration():
    assert ConsoleDevice(cols=132, rows=50).read_config(0, 8).hex() == "8400320001000000"
    assert BlockDevice(sectors=0x1234).read_config(0, 8) == (0x1234).to_bytes(8, "little")


def test_status_after_bring_up_and_reset():
    device = EntropyDevice()
    bring_up(device)
    assert device.status == 0xF
    assert device.running
    device.queues[0].configure(size=8, descriptor_addr=1, driver_addr=2, device_addr=3)
    device.queue_notify(0)
    device.write_status(0)
    assert (device.status, device.selected, device.running) == (0, 0, False)
    queue = device.queues[0]
    assert (queue.size, queue.enabled, queue.descriptor_addr, queue.notifications) == (0,) * 4


@pytest.mark.parametrize(
    ("features", "accepted"),
    [
        (BOTH, True),
        (Feature.VERSION_1.mask, True),
        (BOTH | 1, True),
        (Feature.ACCESS_PLATFORM.mask, False),
        (0, False),
        (BOTH | 2, False),
        (BOTH | 1 << 63, False),
    ],
)
def test_features_ok_needs_an_acceptable_selection(features, accepted):
    device = ConsoleDevice()
    bring_up(device, features)
    assert device.status == (0xF if accepted else 0x3)


def test_feature_beyond_the_last_block_is_refused():
    device = EntropyDevice()
    device.select_word(0xFFFF_FFFF, 0)
    device.select_word(2, 1)
    bring_up(device)
    assert not device.status & DeviceStatus.FEATURES_OK
    device.write_status(0)
    bring_up(device)
    assert device.status & DeviceStatus.FEATURES_OK


def test_driver_ok_needs_features_ok():
    device = EntropyDevice()
    device.write_status(0x7)
    assert device.status == 0x3
    select(device, BOTH)
    device.write_status(0xF)
    assert device.status == 0xF


def test_features_are_frozen_by_features_ok():
    device = ConsoleDevice()
    bring_up(device)
    select(device, 0)
    device.select_word(5, 1)
    assert device.selected == BOTH
    assert device.features_acceptable()


def test_driver_cannot_write_needs_reset():
    device = EntropyDevice()
    device.write_status(0x43)
    assert device.status == 0x3
    device.needs_reset()
    device.write_status(0x3)
    assert device.status == 0x43
    device.write_status(0)
    assert device.status == 0


def test_device_that_needs_reset_does_not_run():
    device = EntropyDevice()
    bring_up(device)
    device.needs_reset()
    assert not device.running


def test_undefined_status_bits_are_ignored():
    device = EntropyDevice()
    device.write_status(0xFFFF_FF30)
    assert device.status == 0
    device.write_status(0x3)
    # The value is not 0, although its low byte is, so the device is not reset.
    device.write_status(0x100)
    assert device.status == 0x3
    device.write_status(0x80)
    assert device.status == 0x83


def test_config_read_past_the_end_is_refused():
    device = ConsoleDevice()
    assert len(device.read_config(11, 1)) == 1
    assert device.read_config(12, 0) == b""
    assert device.read_config(12, 1) is None
    assert device.read_config(11, 2) is None
    assert device.read_config(0xFFFF_FFFF, 2) is None


def test_config_writes_are_all_or_nothing():
    device = ConsoleDevice()
    before = device.read_config(0, 12)
    assert not device.write_config(7, b"\1\2")
    assert not device.write_config(11, b"\1\2")
    assert not device.write_config(0xFFFF_FFFF, b"\1\2")
    assert device.read_config(0, 12) == before
    assert device.generation == 0
    assert device.write_config(8, b"A\0\0\0")
    assert device.read_config(8, 4) == b"A\0\0\0"
    assert device.write_config(3, b"")
    assert not device.write_config(13, b"")


def test_generation_counts_changes_only():
    device = ConsoleDevice()
    device.write_config(8, b"A\0\0\0")
    device.write_config(8, b"A\0\0\0")
    assert device.generation == 1
    device.resize(1, 2)
    assert device.generation == 2
    device.generation = 0xFFFF_FFFF
    device.config_changed()
    assert device.generation == 0
    with pytest.raises(ValueError, match="config bytes 10 to 14: must lie in 0 to 12"):
        device.update_config(10, bytes(4))


@pytest.mark.parametrize("size", [0, 3, 512, 255])
def test_queue_refuses_an_invalid_size(size):
    queue = EntropyDevice(queue_size=256).queues[0]
    assert not queue.configure(size=size, descriptor_addr=1, driver_addr=2, device_addr=3)
    assert (queue.size, queue.descriptor_addr, queue.enabled) == (0, 0, False)


def test_enabled_queue_keeps_its_ring():
    queue = EntropyDevice(queue_size=256).queues[0]
    assert queue.configure(size=256, descriptor_addr=1, driver_addr=2, device_addr=3)
    assert not queue.configure(size=8, descriptor_addr=4, driver_addr=5, device_addr=6)
    assert (queue.size, queue.device_addr) == (256, 3)


@pytest.mark.parametrize("negotiated", [False, True])
def test_reset_queue_needs_ring_reset(negotiated):
    device = EntropyDevice(features=Feature.RING_RESET.mask)
    bring_up(device, BOTH | (Feature.RING_RESET.mask if negotiated else 0))
    device.queues[0].configure(size=8, descriptor_addr=1, driver_addr=2, device_addr=3)
    device.reset_queue(0)
    device.reset_queue(1)
    device.reset_queue(0xFFFF_FFFF)
    assert device.queues[0].enabled != negotiated


def test_parameters_are_checked():
    with pytest.raises(ValueError, match="queue size is 3: must be a power of two"):
        VirtioDevice(queue_sizes=(3,))
    with pytest.raises(ValueError, match="must fit 128 bits"):
        VirtioDevice(features=1 << 128)
