# SPDX-License-Identifier: BSD-2-Clause
"""Bus messages that the C implementation gets wrong; docs/defects.md has the list."""

import pytest
from defect_support import CONSOLE, guest, padded
from model_support import settle

from models.transport import Drop


async def test_d01_get_devices_num_280():
    """A number of devices above what there are: the 32 there can be, and not a byte more."""
    async with guest() as one:
        for num in ("1801", "2800", "2100", "f8ff", "ffff"):
            answers = await one.tell(f"0202 0000 0700 0c00 0000 {num}")
            assert answers == [padded("0302 0000 0700 1200 0000 2000 0000 09000080")]


@pytest.mark.parametrize(
    ("num", "size"), [("0100", 15), ("0800", 15), ("0900", 16), ("1f00", 18), ("2000", 18)]
)
async def test_d02_get_devices_answer_counts_bits(num, size):
    """The answer's size counts a byte for eight devices."""
    async with guest() as one:
        (answer,) = await one.tell(f"0202 0000 0700 0c00 0000 {num}")
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
    """Bit k is device offset + k; the next window's offset, or 0 where none follows."""
    async with guest() as one:
        answers = await one.tell(f"0202 0000 0700 0c00 {window}")
        assert answers == [padded(f"0302 0000 0700 {answer}")]


async def test_d03_windows_end():
    """Whoever follows next_offset has seen every device once, and comes to an end."""
    for size in range(1, 33):
        async with guest() as one:
            found, offset = [], 0
            for _ in range(32):
                answer = await one.request("BUS_GET_DEVICES", offset=offset, num=size)
                bits = int.from_bytes(answer.bitmap, "little")
                found += [offset + k for k in range(answer.num) if bits >> k & 1]
                offset = answer.next_offset
                if not offset:
                    break
            assert (found, offset) == (list(one.transport.devices), 0)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        # A response, a short request, one with a device number.
        ("0302 0000 0700 1200 0000 2000 0000 01000000", Drop.NOT_FOR_DEVICE),
        ("0302 0000 0700 0c00 0000 2000", Drop.MALFORMED),
        ("0202 0000 0700 0800 0000 2000", Drop.MALFORMED),
        ("0202 0000 0700 0b00 0000 2000", Drop.MALFORMED),
        ("0202 0100 0700 0c00 0000 2000", Drop.MALFORMED),
        ("0303 0000 0700 0c00 00000000", Drop.NOT_FOR_DEVICE),
    ],
)
async def test_d04_bus_messages_are_checked(raw, reason):
    """No response, no short message and no device number gets an answer from the bus."""
    async with guest() as one:
        await one.dropped(raw, reason)


@pytest.mark.parametrize("token", ["0000", "0100", "ffff"])
async def test_d04_token_comes_back(token):
    """The answer has the request's token."""
    async with guest() as one:
        (answer,) = await one.tell(f"0202 0000 {token} 0c00 0000 2000")
        assert answer[4:6] == bytes.fromhex(token)


async def test_d05_bus_ids_are_their_own():
    """A bus message that there is not does not do what the transport message of its id does."""
    async with guest() as one:
        await one.bring_up()
        for msg_id in (0x00, 0x01, *range(0x04, 0x100)):
            raw = bytes.fromhex(f"02{msg_id:02x} 0000 0100 3000").ljust(64, b"\0")
            await one.dropped(raw, Drop.UNKNOWN)
        # As a transport message, id 8 with a status of 0 would have reset the device.
        assert (await one.request("GET_DEVICE_STATUS")).status == 0xF
        assert one.transport.devices[0].queues[0].notifications == 0


async def test_d46_ping_is_answered():
    """A ping comes back with its data and its token, whatever else goes on."""
    async with guest() as one:
        await one.bring_up(CONSOLE)
        answers = await one.tell("0203 0000 1100 0c00 efbeadde")
        assert answers == [padded("0303 0000 1100 0c00 efbeadde")]
        # Not one that says that it is shorter.
        await one.dropped("0203 0000 1100 0b00 efbeadde", Drop.MALFORMED)


async def test_d46_pings_of_the_device_are_answered():
    """Either side may ask; the answer ends there."""
    async with guest() as one:
        driver, device_side = one.system.drivers[0], one.system.device_side
        answers = []
        device_side.observers.append(lambda _, fifo, raw: answers.append(raw))
        await driver.start()
        await device_side.send(0, bytes.fromhex("0203 0000 1100 0c00 efbeadde"))
        while one.transport.drops[Drop.NOT_FOR_DEVICE] == 0:
            await settle()
        assert answers[1:] == [padded("0303 0000 1100 0c00 efbeadde")]
        assert driver.pings_answered == 1
        driver.stop()
