# SPDX-License-Identifier: BSD-2-Clause
"""Requests that crash the C implementation or pass its checks; docs/defects.md has the list."""

import pytest
from raw_guest import (
    CONSOLE,
    EMPTY_SLOT_REQUESTS,
    ENTROPY,
    GUEST_ABORTS,
    NULL_DEVICE,
    open_guest,
    padded,
    slot,
)

from models.messages import V1, MessageKind
from models.transport import Drop


@pytest.mark.parametrize("name", GUEST_ABORTS)
async def test_aborting_message_is_answered_or_dropped(name):
    """A message that aborts the C implementation is answered or dropped; the next is served."""
    async with open_guest() as guest:
        await guest.bring_up()
        raw, answer = GUEST_ABORTS[name]
        assert await guest.exchange(raw) == ([padded(answer)] if answer else [])
        assert guest.transport.drops.total() == (answer is None)
        assert (await guest.request("GET_DEVICE_STATUS")).status == 0xF


async def test_d06_id_past_the_table():
    """Known IDs of events to the driver are not for a device; undefined IDs are unknown."""
    async with open_guest() as guest:
        await guest.dropped("0042 0000 0100 0c00 00000000", Drop.NOT_FOR_DEVICE)
        await guest.dropped("0040 0000 0100 1800" + "00" * 16, Drop.NOT_FOR_DEVICE)
        for msg_id in (0x00, 0x01, 0x0C, 0x3F, 0x43, 0x7F, 0x80, 0xFF):
            await guest.dropped(f"00{msg_id:02x} 0000 0100 3000" + "00" * 40, Drop.UNKNOWN)


async def test_d07_response_bit():
    """A response, well formed or not, is dropped without an answer or an effect."""
    async with open_guest() as guest:
        await guest.bring_up()
        for layout in V1.messages:
            if layout.kind is MessageKind.RESPONSE and not layout.bus:
                raw = f"01{layout.msg_id:02x} 0000 0100 {layout.min_size:02x}00" + "00" * 40
                await guest.dropped(raw, Drop.NOT_FOR_DEVICE)
        for msg_id in range(0x100):
            before = guest.transport.drops.total()
            assert await guest.exchange(f"01{msg_id:02x} 0000 0100 0800") == []
            assert guest.transport.drops.total() == before + 1
        # A response with status 0 does not reset the device.
        await guest.dropped("0108 0000 0100 0c00 00000000", Drop.NOT_FOR_DEVICE)
        assert (await guest.request("GET_DEVICE_STATUS")).status == 0xF


@pytest.mark.parametrize("num", ["09000000", "00000000", "0a000000", "00000001", "ffffffff"])
async def test_d08_get_features_num_9(num):
    """A request for no feature words, or more than a response holds (8), is dropped."""
    async with open_guest() as guest:
        await guest.dropped(f"0003 0000 0100 1000 00000000 {num}", Drop.BAD_COUNT)
        answers = await guest.exchange("0003 0000 0100 1000 00000000 08000000")
        # INDIRECT_DESC, EVENT_IDX; VERSION_1, ACCESS_PLATFORM, ORDER_PLATFORM, RING_RESET; six
        # empty blocks.
        features = "00000030 13010000" + "00000000" * 6
        assert answers == [padded(f"0103 0000 0100 3000 00000000 08000000 {features}")]


async def test_d08_get_features_of_any_block():
    """Blocks beyond those of the device read zero; the response echoes the index."""
    async with open_guest() as guest:
        for index in ("02000000", "ffffff7f", "ffffffff"):
            answers = await guest.exchange(f"0003 0000 0100 1000 {index} 02000000")
            assert answers == [padded(f"0103 0000 0100 1800 {index} 02000000 0000000000000000")]


@pytest.mark.parametrize("name", NULL_DEVICE)
async def test_d09_empty_slot(name):
    """A message to a number without a device is dropped, and the next one is served."""
    async with open_guest() as guest:
        await guest.dropped(EMPTY_SLOT_REQUESTS[name], Drop.NO_DEVICE)


async def test_d10_messages_to_empty_slots_are_dropped(caplog, capsys):
    """All messages to a number without a device are dropped, without log entries."""
    async with open_guest() as guest:
        for raw in EMPTY_SLOT_REQUESTS.values():
            await guest.dropped(raw, Drop.NO_DEVICE)
            # Numbers above 31 as well.
            beyond = bytearray(slot(raw))
            beyond[2:4] = b"\x20\x00"
            await guest.dropped(bytes(beyond), Drop.NO_DEVICE)
        for _ in range(20):
            assert await guest.exchange(*[EMPTY_SLOT_REQUESTS["DEVICE_INFO"]] * 50) == []
        assert guest.transport.drops[Drop.NO_DEVICE] == 2 * len(EMPTY_SLOT_REQUESTS) + 1000
    assert not caplog.records and capsys.readouterr() == ("", "")


@pytest.mark.parametrize("status", ["00010000", "00000080", "ff00ff00", "ffffffff"])
async def test_d11_status_0x100(status):
    """The response to a write of any 32 bits has the resulting status of the device."""
    async with open_guest() as guest:
        answer = await guest.ask(f"0008 0000 0100 0c00 {status}")
        # ACKNOWLEDGE, DRIVER and FAILED are set; FEATURES_OK is refused without VERSION_1.
        assert answer.status == int(status[:2], 16) & 0x83
        assert (await guest.request("GET_DEVICE_STATUS")).status == answer.status


async def test_d11_refused_features_ok_is_not_in_the_response():
    """If the device refuses FEATURES_OK, the response lacks it."""
    async with open_guest() as guest:
        assert await guest.status(ENTROPY, 0, 1, 3) == 3
        answers = await guest.exchange("0008 0000 0100 0c00 0b000000")
        assert answers == [padded("0108 0000 0100 0c00 03000000")]


@pytest.mark.parametrize(
    "features",
    ["00000000 02000000 20000000 03000000", "01000000 02000000 03000000 01000000"],
)
async def test_d12_unoffered_feature_is_refused(features):
    """FEATURES_OK is refused if an unoffered bit is selected in any block."""
    async with open_guest() as guest:
        assert await guest.status(ENTROPY, 0, 1, 3) == 3
        assert await guest.exchange("0004 0000 0100 1800 00000000 02000000 00000000 03000000")
        answers = await guest.exchange(f"0004 0000 0100 1800 {features}")
        assert answers == [padded("0104 0000 0100 0800")]
        assert await guest.status(ENTROPY, 0xB) == 3
        # After a reset, a correct selection is accepted.
        await guest.bring_up()


async def test_d47_status_bits_stay_set():
    """A driver can neither clear a bit, nor skip FEATURES_OK, nor write NEEDS_RESET."""
    async with open_guest() as guest:
        await guest.bring_up(CONSOLE)
        for status in (0x01, 0x4F, 0x03):
            assert await guest.status(CONSOLE, status) == 0xF
        guest.transport.devices[CONSOLE].needs_reset()
        assert await guest.status(CONSOLE, 0x0F) == 0x4F
        assert await guest.status(CONSOLE, 0) == 0
        # DRIVER_OK before FEATURES_OK.
        assert await guest.status(CONSOLE, 1, 3, 7) == 3


async def test_d47_features_after_features_ok():
    """The selection is fixed once FEATURES_OK is set."""
    async with open_guest() as guest:
        await guest.bring_up()
        before = guest.transport.devices[ENTROPY].selected
        answers = await guest.exchange("0004 0000 0100 1800 00000000 02000000 00000000 00000000")
        assert answers == [padded("0104 0000 0100 0800")]
        assert guest.transport.devices[ENTROPY].selected == before
        assert (await guest.request("GET_DEVICE_STATUS")).status == 0xF
