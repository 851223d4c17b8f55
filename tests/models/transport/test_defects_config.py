# SPDX-License-Identifier: BSD-2-Clause
"""Defects of the C implementation in configuration accesses; docs/defects.md has the list."""

import pytest
from raw_guest import BLOCK, CONSOLE, open_guest, padded


async def test_d32_set_config_returns_the_stored_bytes():
    """The response has the stored bytes and the new generation. The request's is ignored."""
    async with open_guest() as guest:
        for generation in ("00000000", "07000000", "ffffffff"):
            answers = await guest.exchange(
                f"0006 0300 0100 1800 {generation} 08000000 04000000 41424344"
            )
            assert answers == [padded("0106 0300 0100 1800 01000000 08000000 04000000 41424344")]
        assert bytes(guest.transport.devices[CONSOLE].output) == b"AAA"


@pytest.mark.parametrize(
    ("offset", "size", "data"),
    [
        # Past the end: by one byte, completely, and with offset and size that wrap at 32 bits.
        ("09000000", "04000000", "41424344"),
        ("0c000000", "01000000", "41"),
        ("ffffffff", "02000000", "4142"),
        ("fcffffff", "08000000", "4142434445464748"),
        # Read-only bytes, before writable ones and alone.
        ("07000000", "02000000", "4142"),
        ("00000000", "04000000", "41424344"),
    ],
)
async def test_d32_set_config_out_of_range(offset, size, data):
    """A refused write changes no byte, and its response has length 0."""
    async with open_guest() as guest:
        console = guest.transport.devices[CONSOLE]
        before = console.read_config(0, console.config_size)
        total = 20 + len(data) // 2
        raw = f"0006 0300 0100 {total:02x}00 00000000 {offset} {size} {data}"
        answers = await guest.exchange(raw)
        assert answers == [padded(f"0106 0300 0100 1400 00000000 {offset} 00000000")]
        assert console.read_config(0, console.config_size) == before
        assert (console.generation, bytes(console.output)) == (0, b"")


@pytest.mark.parametrize(
    ("offset", "size"),
    [
        # More bytes than a message holds.
        ("00000000", "1d000000"),
        ("00000000", "ffffffff"),
        # Past the end: by one byte, completely, wrapping.
        ("21000000", "1c000000"),
        ("3c000000", "01000000"),
        ("ffffffff", "02000000"),
        ("ffffffff", "01000000"),
    ],
)
async def test_d33_get_config_out_of_range(offset, size):
    """The response to an invalid read has length 0 and no data."""
    async with open_guest() as guest:
        answers = await guest.exchange(f"0005 1f00 0100 1000 {offset} {size}")
        assert answers == [padded(f"0105 1f00 0100 1400 00000000 {offset} 00000000")]


async def test_d33_get_config_up_to_the_end():
    """The last byte is readable, alone and in the largest message."""
    async with open_guest() as guest:
        config = guest.transport.devices[BLOCK].read_config(0, 60)
        for offset, size in ((59, 1), (32, 28), (60, 0)):
            answer = await guest.request("GET_CONFIG", BLOCK, offset=offset, size=size)
            assert (answer.size, answer.data) == (size, config[offset : offset + size])
