# SPDX-License-Identifier: BSD-2-Clause
"""Device as seen by the driver, over a scripted bus."""

import pytest
from scripted_bus import ScriptedBus, StatusRegister, driver_of, status

from models.driver import (
    ConfigError,
    DriverError,
    FeaturesRefusedError,
    NoDeviceError,
    QueueError,
)


def info(**change):
    fields = {
        "device_id": 4,
        "vendor_id": 1,
        "num_feature_bits": 64,
        "config_size": 40,
        "max_vqs": 1,
        "admin_vq_idx": 0,
        "admin_vq_count": 0,
    }
    return lambda message: message.respond(**(fields | change))


async def test_device_id_0_is_an_error():
    bus = ScriptedBus(DEVICE_INFO=info(device_id=0))
    async with driver_of(bus) as driver:
        with pytest.raises(NoDeviceError, match="device 9: device_id is 0"):
            await driver.device(9)


def features(low, high):
    return lambda message: message.respond(index=0, features=[low, high])


@pytest.mark.parametrize(
    ("offer", "kept", "text"),
    [
        (features(0, 2), 0xB, "device 1: does not offer VERSION_1"),
        (features(0, 3), 0x3, "device 1: does not accept VERSION_1 ACCESS_PLATFORM"),
    ],
)
async def test_refused_features_set_failed(offer, kept, text):
    register = StatusRegister(kept | 0x80)
    bus = ScriptedBus(
        DEVICE_INFO=info(),
        GET_FEATURES=offer,
        SET_FEATURES=lambda message: message.respond(),
        GET_DEVICE_STATUS=register.read,
        SET_DEVICE_STATUS=register.write,
    )
    async with driver_of(bus) as driver:
        with pytest.raises(FeaturesRefusedError, match=text):
            await driver.probe(1)
    assert register.value == 0x83


async def test_only_offered_and_supported_features_are_selected():
    bus = ScriptedBus(
        DEVICE_INFO=info(),
        GET_FEATURES=features(0b0111, 0b101),
        SET_FEATURES=lambda message: message.respond(),
        GET_DEVICE_STATUS=status(0xB),
        SET_DEVICE_STATUS=status(0xB),
    )
    async with driver_of(bus) as driver:
        device = await driver.device(0)
        assert await device.negotiate(0b1010) == 1 << 32 | 0b0010
    (selected,) = (message for message in bus.sent if message.name == "SET_FEATURES")
    assert selected.features == (0b0010, 0b001)


async def test_reset_polls_until_zero():
    statuses = [0xF, 0xF, 0]
    bus = ScriptedBus(
        DEVICE_INFO=info(),
        SET_DEVICE_STATUS=status(0xF),
        GET_DEVICE_STATUS=lambda message: message.respond(status=statuses.pop(0)),
    )
    async with driver_of(bus) as driver:
        device = await driver.device(0)
        await device.reset()
        assert statuses == []
        bus.answers["GET_DEVICE_STATUS"] = status(0xF)
        with pytest.raises(DriverError, match="status is 0x0f after reset: must be 0"):
            await device.reset()


class Config:
    """Configuration space that changes after each of the first ``changes`` data reads."""

    def __init__(self, changes):
        self.changes = changes
        self.generation = 5

    def __call__(self, message):
        generation = self.generation
        data = bytes([generation]) * message.size
        if message.size and self.changes:
            self.changes -= 1
            self.generation += 1
        return message.respond(generation=generation, offset=message.offset, data=data)


async def test_config_read_is_repeated_until_consistent():
    bus = ScriptedBus(DEVICE_INFO=info(), GET_CONFIG=Config(3))
    async with driver_of(bus) as driver:
        device = await driver.device(0)
        assert await device.read_config(4, 30) == bytes([8]) * 30
    reads = [(message.offset, message.size) for message in bus.sent[1:]]
    assert reads == [(0, 0), (4, 28), (32, 2), (0, 0)] * 3
    assert bus.answers["GET_CONFIG"].changes == 0


async def test_config_that_always_changes_is_an_error():
    bus = ScriptedBus(DEVICE_INFO=info(), GET_CONFIG=Config(1000))
    async with driver_of(bus) as driver:
        device = await driver.device(0)
        with pytest.raises(ConfigError, match="configuration changed during 8 reads"):
            await device.read_config(0, 4)


async def test_refused_config_access_is_an_error():
    def nothing(message):
        return message.respond(generation=0, offset=message.offset, data=b"")

    bus = ScriptedBus(DEVICE_INFO=info(), GET_CONFIG=nothing, SET_CONFIG=nothing)
    async with driver_of(bus) as driver:
        device = await driver.device(2)
        with pytest.raises(ConfigError, match="device 2: no configuration at 4, 8 bytes"):
            await device.read_config(4, 8)
        with pytest.raises(ConfigError, match="device 2: cannot write configuration at 4, 28"):
            await device.write_config(4, bytes(30))


async def test_missing_queue_is_an_error():
    bus = ScriptedBus(
        DEVICE_INFO=info(),
        GET_VQUEUE=lambda message: message.respond(
            index=message.index, max_size=0, size=0, descriptor_addr=0, driver_addr=0, device_addr=0
        ),
    )
    async with driver_of(bus) as driver:
        device = await driver.device(2)
        with pytest.raises(QueueError, match="device 2: there is no queue 6"):
            await device.set_up_queue(6, driver.rings)
