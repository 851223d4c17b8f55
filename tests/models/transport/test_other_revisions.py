# SPDX-License-Identifier: BSD-2-Clause
"""Ends of one bus with different revisions of the messages."""

import pytest
from model_support import settle
from scripted_bus import ScriptedBus, driver_of
from transport_support import Exchange

from models.devices import ConsoleDevice
from models.driver import RequestTimeoutError
from models.handlers import Drop
from models.messages import (
    R1,
    V1,
    V1_1,
    MessageKind,
    SizeError,
    UnknownMessageError,
    decode,
    event,
    request,
)

DEVICE_INFO_OF_THE_DRAFT = bytes.fromhex(
    "0102 0000 0100 3400 04000000 51454d55"
    + "00" * 16
    + "02000000 00000000 01000000 00000000 00000000"
)
"""Response of the 2026 draft, with 52 bytes in place of the 32 of the patch series."""


def test_revisions_differ_in_size():
    """A response of the other revision is refused by its size."""
    with pytest.raises(SizeError, match="msg_size is 52: must be 32 to 48"):
        decode(DEVICE_INFO_OF_THE_DRAFT, "v1")
    # The DEVICE_INFO responses of any two revisions with different layouts have different sizes.
    # v1.1 has the layouts of v1.
    sizes = [
        next(
            layout.min_size
            for layout in dialect.messages
            if not layout.bus and layout.msg_id == 0x02 and layout.kind is MessageKind.RESPONSE
        )
        for dialect in (V1, R1)
    ]
    assert len(set(sizes)) == 2
    assert set(V1.messages) < set(V1_1.messages)


async def test_driver_refuses_another_revision():
    """The driver counts such a response as malformed, and its request times out."""
    bus = ScriptedBus(
        DEVICE_INFO=lambda asked: (
            DEVICE_INFO_OF_THE_DRAFT[:4]
            + asked.token.to_bytes(2, "little")
            + DEVICE_INFO_OF_THE_DRAFT[6:]
        )
    )
    async with driver_of(bus, timeout_us=1000) as driver:
        with pytest.raises(RequestTimeoutError, match="DEVICE_INFO to device 0: no response"):
            await driver.probe(0)
        await settle()
        assert dict(driver.unclaimed) == {"malformed": 1}


def test_messages_of_other_revisions_are_unknown():
    """GET_SHM and BUS_EVENT_DEVICE are unknown in revision v1."""
    shm = request("GET_SHM", revision=R1, shmid=0)
    old = Exchange({0: ConsoleDevice()})
    assert old.ask_bytes(shm.encode().ljust(48, b"\0")) == []
    assert old.transport.drops == {Drop.UNKNOWN: 1}
    with pytest.raises(UnknownMessageError):
        decode(event("BUS_EVENT_DEVICE", revision=R1, device_number=0, device_bus_state=1).wire())
    assert not V1.has("GET_SHM", MessageKind.REQUEST)
