# SPDX-License-Identifier: BSD-2-Clause
"""Any number of feature bits on both sides, and their names in virtio 1.4."""

import pytest
from scripted_bus import driver_of
from transport_support import DeviceBus, Plain, info

from models.devices import BlockDevice, ConsoleDevice, EntropyDevice, NetworkDevice
from models.driver import FeaturesRefusedError, ProtocolError
from models.driver.features import MAX_FEATURE_BITS
from models.messages import V1, describe, request
from models.system import ModelSystem
from models.virtio import BASE_FEATURES, DeviceStatus, Feature, feature_names, status_names


def blocks_of(bits):
    """Responder to GET_FEATURES of any block for a device that offers ``bits``."""

    def answer(message):
        index, num = message.number("index"), message.number("num")
        words = [bits >> 32 * (index + k) & 0xFFFF_FFFF for k in range(num)]
        return message.respond(index=index, num=num, features=words)

    return answer


@pytest.mark.parametrize("high", [32, 63, 64, 95, 127, 128, 255, 1000, MAX_FEATURE_BITS - 1])
async def test_driver_reads_every_announced_block(dialect, high):
    bits = BASE_FEATURES | 1 << high
    announced = {"num_feature_blocks": high // 32 + 1}
    if dialect is V1:
        announced = {"num_feature_bits": high + 1}
    bus = DeviceBus({0: Plain()}, dialect)
    ask_device = bus.transport._device_handlers._handlers["DEVICE_INFO"]

    def device_info(message):
        fields = dict(ask_device(message, bus.transport.devices[0]).fields)
        return message.respond(**(fields | announced))

    name = "DEVICE_INFO" if dialect is V1 else "GET_DEVICE_INFO"
    features = "GET_FEATURES" if dialect is V1 else "GET_DEVICE_FEATURES"
    bus.answers = {name: device_info, features: blocks_of(bits)}
    async with driver_of(bus) as driver:
        device = await driver.device(0)
        assert await device.offered_features() == bits
        # The selection covers every block, and unknown features are not accepted.
        assert await device.negotiate(0) == BASE_FEATURES
    words = {}
    for message in bus.of("SET_FEATURES" if dialect is V1 else "SET_DRIVER_FEATURES"):
        words |= dict(enumerate(message.features, message.number("index")))
    assert len(words) == max(high // 32 + 1, 2)
    assert sum(word << 32 * index for index, word in words.items()) == BASE_FEATURES


async def test_too_many_feature_bits_are_refused():
    bus = DeviceBus({0: Plain()}, GET_DEVICE_INFO=info(num_feature_blocks=0xFFFF_FFFF))
    async with driver_of(bus) as driver:
        with pytest.raises(ProtocolError, match="num_feature_bits is 137438953440: must be 65536"):
            await driver.probe(0)
    assert bus.transport.devices[0].status & DeviceStatus.FAILED


async def test_features_above_bit_63_are_negotiated(dialect):
    device = Plain(features=Feature.NET_RSS_CONTEXT.mask | 1 << 127)
    async with ModelSystem([{0: device}], revision=dialect) as system:
        wanted = Feature.NET_RSS_CONTEXT.mask | Feature.NET_IPSEC.mask | 1 << 127
        dev = await system.drivers[0].probe(0, features=wanted)
        assert dev.info.num_feature_bits == 128
        assert dev.features == BASE_FEATURES | Feature.NET_RSS_CONTEXT.mask | 1 << 127
        assert device.negotiated(64) and device.negotiated(127) and not device.negotiated(70)


async def test_device_with_a_data_path_offers_ring_features(dialect):
    device = EntropyDevice(features=Feature.RING_RESET.mask)
    async with ModelSystem([{0: device}], revision=dialect) as system:
        handle = await system.drivers[0].device(0)
        # INDIRECT_DESC, EVENT_IDX; VERSION_1, ACCESS_PLATFORM, ORDER_PLATFORM, RING_RESET.
        assert await handle.offered_features() == 0x113_3000_0000


@pytest.mark.parametrize("kind", [BlockDevice, ConsoleDevice, EntropyDevice, NetworkDevice, Plain])
async def test_order_platform_is_negotiated(dialect, kind):
    device = kind()
    async with ModelSystem([{0: device}], revision=dialect) as system:
        dev = await system.drivers[0].probe(0)
        assert dev.features & Feature.ORDER_PLATFORM.mask
        assert device.negotiated(Feature.ORDER_PLATFORM)


async def test_order_platform_is_optional_for_the_driver():
    device = EntropyDevice()
    device.offered &= ~Feature.ORDER_PLATFORM.mask
    async with ModelSystem([{0: device}]) as system:
        dev = await system.drivers[0].probe(0)
        assert not dev.features & Feature.ORDER_PLATFORM.mask


def test_names_of_virtio_1_4():
    assert feature_names(0b111 << 41) == "ADMIN_VQ RESERVED_42 SUSPEND"
    assert feature_names(0x7F << 64) == (
        "NET_RSS_CONTEXT NET_GUEST_UDP_TUNNEL_GSO NET_GUEST_UDP_TUNNEL_GSO_CSUM "
        "NET_HOST_UDP_TUNNEL_GSO NET_HOST_UDP_TUNNEL_GSO_CSUM NET_OUT_NET_HEADER NET_IPSEC"
    )
    assert feature_names(1 << 36 | 1 << 71) == "ORDER_PLATFORM bit 71"
    assert status_names(0x1F) == "ACKNOWLEDGE DRIVER DRIVER_OK FEATURES_OK SUSPEND"
    message = request("SET_FEATURES", index=1, num=2, features=[1 << 11, 1])
    assert describe(message).endswith("(SUSPEND NET_RSS_CONTEXT)")


async def test_device_without_version_1_is_refused():
    device = EntropyDevice()
    device.offered &= ~Feature.VERSION_1.mask
    async with ModelSystem([{0: device}]) as system:
        with pytest.raises(FeaturesRefusedError, match="does not offer VERSION_1"):
            await system.drivers[0].probe(0)
        assert device.status & DeviceStatus.FAILED
