# SPDX-License-Identifier: BSD-2-Clause
"""Ethernet frames that a network device accepts, in both directions."""

import pytest
from model_support import settle

from models.devices import NetworkDevice
from models.devices.network import LONGEST_FRAME, MTU, frame_fits
from models.drivers import NetworkDriver
from models.system import ModelSystem

ADDRESSES = b"\xff" * 6 + b"\2\0\0\0\0\1"
IP = b"\x08\0"
CUSTOMER, SERVICE = b"\x81\0\0\5", b"\x88\xa8\0\7"


def frame(*tags, payload=MTU):
    return ADDRESSES + b"".join(tags) + IP + bytes(payload)


FRAMES = {
    "shortest": (frame(payload=0), True),
    "longest": (frame(), True),
    "too long": (frame(payload=MTU + 1), False),
    "tagged, 1,518 bytes": (frame(CUSTOMER), True),
    "tagged, too long": (frame(CUSTOMER, payload=MTU + 1), False),
    "service tag": (frame(SERVICE), True),
    "two tags, 1,522 bytes": (frame(SERVICE, CUSTOMER), True),
    "two tags, too long": (frame(SERVICE, CUSTOMER, payload=MTU + 1), False),
    "three tags, as payload": (frame(SERVICE, CUSTOMER, CUSTOMER), False),
    "tag bytes in the payload": (frame(payload=MTU - 4) + CUSTOMER, True),
    "a tag without a type": (ADDRESSES + CUSTOMER, False),
    "no type": (ADDRESSES + b"\x08", False),
    "only addresses": (ADDRESSES, False),
    "nothing": (b"", False),
    "very long": (frame(payload=60000), False),
}


@pytest.mark.parametrize("name", FRAMES)
async def test_frame_limits_are_the_same_in_both_directions(name):
    data, passes = FRAMES[name]
    assert frame_fits(data) == passes
    seen = []
    device = NetworkDevice(wire=lambda sent: seen.append(sent) or [])
    async with ModelSystem([{0: device}]) as system:
        card = await NetworkDriver.probe(system.drivers[0], 0, system.host.memory)
        await card.send(data)
        assert (seen, device.dropped) == (([data], 0) if passes else ([], 1))
        device.deliver(data)
        await settle(100)
        assert (device.received, device.dropped) == ((1, 0) if passes else (0, 2))
        if passes:
            assert await card.receive() == data
        assert device.failure is None


def test_longest_frame_has_two_tags():
    assert len(frame(SERVICE, CUSTOMER)) == LONGEST_FRAME == 1522
