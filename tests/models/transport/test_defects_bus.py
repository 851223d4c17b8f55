# SPDX-License-Identifier: BSD-2-Clause
"""Defects of the C implementation in bus messages; docs/defects.md has the list."""

import pytest
from model_support import settle
from raw_guest import CONSOLE, open_guest, padded

from models.transport import Drop


async def test_d01_get_devices_num_280():
    """A request for more device numbers than exist returns the 32 that exist."""
    async with open_guest() as guest:
        for num in ("1801", "2800", "2100", "f8ff", "ffff"):
            answers = await guest.exchange(f"0202 0000 0700 0c00 0000 {num}")
            assert answers == [padded("0302 0000 0700 1200 0000 2000 0000 09000080")]


@pytest.mark.parametrize(
    ("num", "size"), [("0100", 15), ("0800", 15), ("0900", 16), ("1f00", 18), ("2000", 18)]
)
async def test_d02_get_devices_answer_counts_bits(num, size):
    """The response has one byte per eight devices."""
    async with open_guest() as guest:
        (answer,) = await guest.exchange(f"0202 0000 0700 0c00 0000 {num}")
        assert answer[6:8] == size.to_bytes(2, "little")
        assert answer[size:] == bytes(64 - size)


@pytest.mark.parametrize(
    ("window", "answer"),
    [
        ("0300 0900", "1000 0300 0900 0c00 0100"),
        ("0100 1f00", "1200 0100 1f00 0000 04000040"),
        ("1f00 2000", "0f00 1f00 0100 0000 01"),
        ("0000 0800", "0f00 0000 0800 0800 09"),
        ("2000 2000", "0e00 2000 0000 0000"),
        ("ffff ffff", "0e00 ffff 0000 0000"),
        ("0000 0000", "0e00 0000 0000 0000"),
    ],
)
async def test_d03_get_devices_offset(window, answer):
    """Bit k is device offset + k. next_offset is 0 in the last window."""
    async with open_guest() as guest:
        answers = await guest.exchange(f"0202 0000 0700 0c00 {window}")
        assert answers == [padded(f"0302 0000 0700 {answer}")]


async def test_d03_discovery_ends():
    """Following next_offset finds every device once and ends."""
    for size in range(1, 33):
        async with open_guest() as guest:
            found, offset = [], 0
            for _ in range(32):
                answer = await guest.request("BUS_GET_DEVICES", offset=offset, num=size)
                bits = int.from_bytes(answer.bitmap, "little")
                found += [offset + k for k in range(answer.num) if bits >> k & 1]
                offset = answer.next_offset
                if not offset:
                    break
            assert (found, offset) == (list(guest.transport.devices), 0)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        # Responses, short requests, a request with a device number.
        ("0302 0000 0700 1200 0000 2000 0000 01000000", Drop.NOT_FOR_DEVICE),
        ("0302 0000 0700 0c00 0000 2000", Drop.MALFORMED),
        ("0202 0000 0700 0800 0000 2000", Drop.MALFORMED),
        ("0202 0000 0700 0b00 0000 2000", Drop.MALFORMED),
        ("0202 0100 0700 0c00 0000 2000", Drop.MALFORMED),
        ("0303 0000 0700 0c00 00000000", Drop.NOT_FOR_DEVICE),
    ],
)
async def test_d04_bus_messages_are_checked(raw, reason):
    """Responses, short messages and messages with a device number are dropped."""
    async with open_guest() as guest:
        await guest.dropped(raw, reason)


@pytest.mark.parametrize("token", ["0000", "0100", "ffff"])
async def test_d04_response_has_the_request_token(token):
    """The response has the token of the request."""
    async with open_guest() as guest:
        (answer,) = await guest.exchange(f"0202 0000 {token} 0c00 0000 2000")
        assert answer[4:6] == bytes.fromhex(token)


async def test_d05_unknown_bus_id_is_dropped():
    """An unknown bus message does not act as the transport message with its ID."""
    async with open_guest() as guest:
        await guest.bring_up()
        for msg_id in (0x00, 0x01, *range(0x04, 0x100)):
            raw = bytes.fromhex(f"02{msg_id:02x} 0000 0100 3000").ljust(64, b"\0")
            await guest.dropped(raw, Drop.UNKNOWN)
        # As a transport message, ID 8 with status 0 would reset the device.
        assert (await guest.request("GET_DEVICE_STATUS")).status == 0xF
        assert guest.transport.devices[0].queues[0].notifications == 0


async def test_d46_ping_is_answered():
    """The response to a ping has its data and token."""
    async with open_guest() as guest:
        await guest.bring_up(CONSOLE)
        answers = await guest.exchange("0203 0000 1100 0c00 efbeadde")
        assert answers == [padded("0303 0000 1100 0c00 efbeadde")]
        # A ping with a smaller msg_size is dropped.
        await guest.dropped("0203 0000 1100 0b00 efbeadde", Drop.MALFORMED)


async def test_d46_pings_of_the_device_are_answered():
    """Both sides may send a ping. A response is not answered."""
    async with open_guest() as guest:
        driver, device_side = guest.system.drivers[0], guest.system.device_side
        answers = []
        device_side.observers.append(lambda _, fifo, raw: answers.append(raw))
        await driver.start()
        await device_side.send(0, bytes.fromhex("0203 0000 1100 0c00 efbeadde"))
        while guest.transport.drops[Drop.NOT_FOR_DEVICE] == 0:
            await settle()
        assert answers[1:] == [padded("0303 0000 1100 0c00 efbeadde")]
        assert driver.pings_answered == 1
        driver.stop()
