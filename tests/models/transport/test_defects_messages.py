# SPDX-License-Identifier: BSD-2-Clause
"""Defects of the C implementation in codec and printer; docs/defects.md has the list."""

from itertools import product

import pytest
from model_support import settle
from scripted_bus import ScriptedBus, driver_of

from models.driver import RequestTimeoutError
from models.messages import R1, V1, V1_1, MessageKind, SizeError, decode, describe_bytes, encode
from models.messages.layouts import HEADER, TYPE_BUS, TYPE_RESPONSE


def test_d41_printer_takes_any_bytes():
    """Any header is described in one line, by its name or by the error."""
    lines = set()
    for type_bits, msg_id in product((0, 1, 2, 3, 0xFC, 0xFF), range(0x100)):
        for msg_size in (0, 7, 8, 12, 48, 60, 0xFFFF):
            raw = HEADER.pack(type_bits, msg_id, 0, 1, msg_size) + b"\xff" * 56
            line = describe_bytes(raw, V1)
            assert "\n" not in line and "None" not in line and "null" not in line
            assert len(line) < 400
            known = {
                layout.name
                for layout in V1.messages
                if layout.msg_id == msg_id
                and layout.bus == bool(type_bits & TYPE_BUS)
                and (layout.kind is MessageKind.RESPONSE) == bool(type_bits & TYPE_RESPONSE)
            }
            # The line starts with the name of the bus or transport message, or with the error.
            first = line.removeprefix("malformed: ").split()[0]
            assert first in (known or {"msg_id"}), line
            lines.add(line)
    assert len(lines) > 1000
    for size in range(8):
        assert describe_bytes(bytes(size), V1).startswith("malformed: length is")


@pytest.mark.parametrize(
    ("raw", "values"),
    [
        (
            "0302 0000 0201 1000 0201 0a00 0403 ff03",
            {"offset": 0x0102, "num": 10, "next_offset": 0x0304, "bitmap": b"\xff\x03"},
        ),
        ("0108 0605 0201 0c00 04030201", {"status": 0x01020304}),
        (
            "000a 0605 0201 3000 04030201 08070605 0c0b0a09 100f0e0d"
            "1817161514131211 201f1e1d1c1b1a19 2827262524232221",
            {
                "index": 0x01020304,
                "unused": 0x05060708,
                "size": 0x090A0B0C,
                "reserved": 0x0D0E0F10,
                "descriptor_addr": 0x1112131415161718,
                "driver_addr": 0x191A1B1C1D1E1F20,
                "device_addr": 0x2122232425262728,
            },
        ),
        (
            "0041 0605 0000 1000 04030201 08070685",
            {"index": 0x01020304, "next_offset": 0x05060708, "next_wrap": 1},
        ),
    ],
)
def test_d42_every_field_is_little_endian(raw, values):
    """Every word of a message is little-endian on any host, reserved words as well."""
    raw = bytes.fromhex(raw)
    message = decode(raw.ljust(V1.max_size, b"\0"))
    assert {name: message.fields[name] for name in values} == values
    assert message.token == (0 if message.kind is MessageKind.EVENT else 0x0102)
    assert message.dev_num == (0 if message.bus else 0x0506)
    assert encode(message) == raw


DEVICE_INFO_OF_THE_DRAFT = bytes.fromhex(
    "0102 0000 0100 3400 04000000 51454d55"
    + "00" * 16
    + "02000000 00000000 01000000 00000000 00000000"
)
"""Response of the 2026 draft, with 52 bytes in place of the 32 of the patch series."""


def test_d48_revisions_differ_in_size():
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


async def test_d48_driver_refuses_another_revision():
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
