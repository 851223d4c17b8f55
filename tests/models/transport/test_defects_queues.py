# SPDX-License-Identifier: BSD-2-Clause
"""Defects of the C implementation in virtqueue messages; docs/defects.md has the list."""

import pytest
from raw_guest import AREAS, BLOCK, CONSOLE, ENTROPY, open_guest, padded

RING_RESET = (0, 0x103)
"""Feature words of VERSION_1, ACCESS_PLATFORM and RING_RESET."""
NO_QUEUES = ("01000000", "ff030000", "00040000", "00000100", "ffffffff")
"""Indices without a queue: 1, 1023, 1024, 65536 and the largest, for a device with one queue."""


def state_of_queues(guest):
    """State of all queues, and status of all devices."""
    return [
        repr(queue) for device in guest.transport.devices.values() for queue in device.queues
    ] + [device.status for device in guest.transport.devices.values()]


@pytest.mark.parametrize("index", NO_QUEUES)
async def test_d13_get_vqueue_index_1023(index):
    """A queue that does not exist reads zero; the response echoes its index."""
    async with open_guest() as guest:
        answers = await guest.exchange(f"0009 0000 0100 0c00 {index}")
        assert answers == [padded(f"0109 0000 0100 3000 {index}")]


@pytest.mark.parametrize("features", [(0, 3), RING_RESET])
@pytest.mark.parametrize("index", NO_QUEUES)
async def test_d14_reset_vqueue_index_1024(index, features):
    """The reset of a queue that does not exist is answered and changes nothing."""
    async with open_guest() as guest:
        await guest.bring_up(features=features)
        before = state_of_queues(guest)
        answers = await guest.exchange(f"000b 0000 0100 0c00 {index}")
        assert answers == [padded("010b 0000 0100 0800")]
        assert state_of_queues(guest) == before


@pytest.mark.parametrize("features", [(0, 3), RING_RESET])
async def test_d14_reset_vqueue_needs_ring_reset(features):
    """RESET_VQUEUE resets a queue only if RING_RESET was negotiated."""
    async with open_guest() as guest:
        await guest.bring_up(features=features)
        assert await guest.exchange("000b 0000 0100 0c00 00000000") == [
            padded("010b 0000 0100 0800")
        ]
        size = (await guest.request("GET_VQUEUE", index=0)).size
        assert size == (0 if features == RING_RESET else 64)


def set_vqueue(index="00000000", size="40000000", reserved="00000000"):
    areas = "0000900000000000 0010900000000000 0020900000000000"
    return f"000a 0000 0100 3000 {index} 00000000 {size} {reserved} {areas}"


@pytest.mark.parametrize(
    "raw",
    [
        set_vqueue(size="00000000"),
        set_vqueue(size="00020000"),
        set_vqueue(size="ffffffff"),
        set_vqueue(size="60000000"),
        set_vqueue(reserved="01000000"),
        *(set_vqueue(index=index) for index in NO_QUEUES),
    ],
)
async def test_d16_set_vqueue_is_all_or_nothing(raw):
    """An invalid size or a queue that does not exist is answered and changes nothing."""
    async with open_guest() as guest:
        before = state_of_queues(guest)
        assert await guest.exchange(raw) == [padded("010a 0000 0100 0800")]
        assert state_of_queues(guest) == before


async def test_d16_set_vqueue_does_not_change_an_enabled_queue():
    """An enabled queue keeps its size and addresses until it is reset."""
    async with open_guest() as guest:
        await guest.bring_up()
        assert await guest.exchange(set_vqueue(size="20000000")) == [padded("010a 0000 0100 0800")]
        answer = await guest.request("GET_VQUEUE", index=0)
        assert answer.size == 64
        assert {name: answer.fields[name] for name in AREAS} == AREAS


async def test_d18_get_vqueue_reports_the_maximum():
    """GET_VQUEUE reports the maximum size of each queue, and size 0 until the driver sets it."""
    async with open_guest() as guest:
        sizes = {ENTROPY: "00010000", CONSOLE: "40000000", BLOCK: "80000000"}
        for number, size in sizes.items():
            answers = await guest.exchange(f"0009 {number:02x}00 0100 0c00 00000000")
            assert answers == [padded(f"0109 {number:02x}00 0100 3000 00000000 {size}")]
        # The driver can set the maximum size.
        await guest.bring_up(size=256)
        assert (await guest.request("GET_VQUEUE", index=0)).size == 256


async def test_d19_device_info_counts_queues():
    """max_vqs is the number of queues, and each queue reports a size."""
    async with open_guest() as guest:
        for number, queues in ((ENTROPY, 1), (CONSOLE, 2), (BLOCK, 1)):
            answer = await guest.ask(f"0002 {number:02x}00 0100 0800")
            assert answer.max_vqs == queues
            sizes = [
                (await guest.request("GET_VQUEUE", number, index=index)).max_size
                for index in range(queues + 1)
            ]
            assert all(sizes[:queues]) and not sizes[queues]
