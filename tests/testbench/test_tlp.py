# SPDX-License-Identifier: BSD-2-Clause
"""The TLP codec: against headers encoded by hand, against cocotbext-pcie, and round trips."""

from __future__ import annotations

import pytest
from cocotbext.pcie.core.tlp import Tlp as ForeignTlp
from cocotbext.pcie.core.tlp import TlpType
from cocotbext.pcie.core.utils import PcieId
from hypothesis import given
from hypothesis import strategies as st

from testbench.tlp import (
    COMPLETIONS,
    CONFIG_REQUESTS,
    CplStatus,
    Tlp,
    TlpError,
    TlpKind,
    from_cocotbext,
    id_text,
    pcie_id,
    to_cocotbext,
)
from testbench.tlp.packets import (
    byte_enables,
    completion,
    config_read,
    config_write,
    memory_read,
    memory_write,
    request_bytes,
)


def test_memory_write_by_hand():
    """MWr of 3 dwords from 00:03.1 to 0xC000_1001..0xC000_100A (figures 2-5 and 2-15)."""
    packet = memory_write(0xC000_1001, bytes(range(1, 11)), requester_id=pcie_id(0, 3, 1), tag=0xA5)
    assert packet.pack() == int("400000030019A57EC000100000000000", 16)
    assert packet.payload == bytes([0, *range(1, 11), 0])
    assert str(packet) == "MWR32 00:03.1 tag 0xa5 address 0xc0001000 length 3 be 0xe/0x7"


def test_memory_read_above_4_gib_by_hand():
    packet = memory_read(0x12_3456_7000, 4096, tag=0x301, tc=5, attr=0b110)
    assert packet.pack() == int("20DC2000000001FF0000001234567000", 16)
    assert Tlp.unpack(packet.pack()) == packet


def test_completion_by_hand():
    """CplD of two dwords, 6 bytes from lower address 0x0A (figure 2-29)."""
    request = memory_read(0xC000_100A, 6, requester_id=0x0019, tag=0x42, tc=3, attr=1)
    answer = completion(request, pcie_id(0x2A, 0), bytes(8))
    assert answer.pack() == int("4A3010022A0000060019420A00000000", 16)


def test_configuration_write_by_hand():
    packet = config_write(pcie_id(0x2A, 0), 0x104, 0x1122_3344, first_be=0b0110)
    assert packet.pack() == int("44000001000000062A00010400000000", 16)
    assert packet.payload == bytes.fromhex("44332211")


def test_zero_encodes_maximum_length_and_byte_count():
    """0 encodes 1,024 dwords and 4,096 bytes (sections 2.2.2 and 2.2.9)."""
    read = memory_read(0, 4096)
    assert read.length == 1024 and Tlp.unpack(read.pack()).length == 1024
    answer = completion(read, 0, bytes(4096))
    assert answer.byte_count == 4096 and Tlp.unpack(answer.pack(), answer.payload) == answer
    assert Tlp.unpack(completion(read, 0, status=CplStatus.UR).pack()).length == 0


IDENTIFIER = st.integers(0, 0xFFFF)
DWORDS = st.integers(1, 1024)


@st.composite
def packets(draw: st.DrawFn) -> Tlp:
    kind = draw(st.sampled_from(sorted(TlpKind)))
    length = draw(DWORDS)
    packet = Tlp(
        kind,
        length=length,
        requester_id=draw(IDENTIFIER),
        tag=draw(st.integers(0, 1023)),
        tc=draw(st.integers(0, 7)),
        attr=draw(st.integers(0, 7)),
        ep=draw(st.integers(0, 1)),
        td=draw(st.integers(0, 1)),
        ln=draw(st.integers(0, 1)),
        at=draw(st.integers(0, 2)),
    )
    if packet.has_data:
        packet.payload = draw(st.binary(min_size=4, max_size=4)) * length
    if kind in COMPLETIONS:
        packet.completer_id = draw(IDENTIFIER)
        packet.status = draw(st.sampled_from(sorted(CplStatus)))
        packet.bcm = draw(st.integers(0, 1))
        packet.byte_count = draw(st.integers(1, 4096))
        packet.lower_address = draw(st.integers(0, 127))
        if not packet.has_data:
            packet.length = 0
        return packet
    packet.first_be = draw(st.integers(0, 15))
    packet.last_be = draw(st.integers(0, 15))
    bits = 64 if packet.four_dwords else 32
    packet.address = draw(st.integers(0, (1 << bits - 2) - 1)) << 2
    if kind in CONFIG_REQUESTS:
        packet.completer_id = draw(IDENTIFIER)
        packet.address &= 0xFFC
    return packet


@given(packets())
def test_same_bytes_as_cocotbext_pcie(packet: Tlp):
    foreign = to_cocotbext(packet)
    assert bytes(foreign.pack_header()).ljust(16, b"\0") == packet.pack().to_bytes(16, "big")
    assert from_cocotbext(foreign) == packet


@given(packets(), st.sampled_from([64, 128, 256, 512]))
def test_beats_carry_the_packet(packet: Tlp, width: int):
    beats = list(packet.beats(width))
    assert [beat["sop"] for beat in beats] == [1] + [0] * (len(beats) - 1)
    assert [beat["eop"] for beat in beats] == [0] * (len(beats) - 1) + [1]
    assert len(beats) == max(1, -(-8 * len(packet.payload) // width))
    payload = b""
    for beat in beats:
        dwords = beat["strb"].bit_length()
        assert beat["strb"] == (1 << dwords) - 1
        payload += beat["data"].to_bytes(width // 8, "little")[: 4 * dwords]
    assert payload == packet.payload
    assert Tlp.unpack(beats[0]["hdr"], payload) == packet


@given(st.integers(0, (1 << 128) - 1))
def test_header_round_trip_keeps_all_fields(header: int):
    """Illegal headers survive too, so that tests can send them."""
    packet = Tlp.unpack(header)
    lost = 0 if packet.four_dwords and not packet.is_completion else 0xFFFF_FFFF
    if packet.is_completion:
        lost |= 1 << 39
    if packet.kind in CONFIG_REQUESTS:
        lost = 0xFFFF_FFFF
    assert packet.pack() == header & ~lost
    assert packet.header == header


def test_packet_built_by_cocotbext_pcie():
    foreign = ForeignTlp()
    foreign.fmt_type = TlpType.CPL
    foreign.status = CplStatus.UR
    foreign.completer_id = PcieId(1, 0, 0)
    foreign.requester_id = PcieId(0, 1, 2)
    foreign.byte_count = 4
    packet = from_cocotbext(foreign)
    assert (packet.kind, packet.status, packet.byte_count) == (TlpKind.CPL, CplStatus.UR, 4)
    assert id_text(packet.completer_id) == "01:00.0" and id_text(packet.requester_id) == "00:01.2"


def test_packet_unsupported_by_cocotbext_pcie_raises():
    with pytest.raises(TlpError, match="cocotbext-pcie cannot carry kind 0x3f"):
        to_cocotbext(Tlp(0x3F))


@given(st.integers(0, 1 << 40), st.integers(0, 4096))
def test_byte_enables_cover_the_requested_bytes(address: int, size: int):
    start, length, first, last = byte_enables(address, size)
    packet = Tlp(TlpKind.MRD64, length=length, address=start, first_be=first, last_be=last)
    if size:
        assert request_bytes(packet) == (address, size)
        assert length == (address + size + 3) // 4 - address // 4
    else:
        assert (length, first, last) == (1, 0, 0)
        assert request_bytes(packet) == (address & ~3, 1)


TABLE_2_39 = {
    (0b1001, 0): 4,
    (0b1111, 0): 4,
    (0b0101, 0): 3,
    (0b0111, 0): 3,
    (0b1010, 0): 3,
    (0b1110, 0): 3,
    (0b0011, 0): 2,
    (0b0110, 0): 2,
    (0b1100, 0): 2,
    (0b0001, 0): 1,
    (0b0010, 0): 1,
    (0b0100, 0): 1,
    (0b1000, 0): 1,
    (0b0000, 0): 1,
    (0b0001, 0b1000): 12,
    (0b0001, 0b0100): 11,
    (0b0001, 0b0010): 10,
    (0b0001, 0b0001): 9,
    (0b1110, 0b1000): 11,
    (0b0010, 0b0111): 10,
    (0b1100, 0b1111): 10,
    (0b0100, 0b0011): 8,
    (0b1000, 0b1000): 9,
    (0b1000, 0b0001): 6,
}


@pytest.mark.parametrize(("enables", "count"), TABLE_2_39.items())
def test_byte_count_of_table_2_39(enables: tuple[int, int], count: int):
    first, last = enables
    length = 3 if last else 1
    packet = Tlp(TlpKind.MRD32, length=length, address=0x100, first_be=first, last_be=last)
    assert request_bytes(packet)[1] == count


def test_zero_length_write_has_one_dword():
    packet = memory_write(0x1003, b"")
    assert (packet.address, packet.length, packet.payload) == (0x1000, 1, bytes(4))
    assert (packet.first_be, packet.last_be) == (0, 0)


def test_configuration_read_targets_a_function():
    packet = config_read(pcie_id(3, 4, 5), 0x3C)
    assert (packet.completer_id, packet.address, packet.length) == (0x0325, 0x3C, 1)


def test_payload_of_partial_dwords_raises():
    with pytest.raises(TlpError, match="payload is 3 bytes: must be a multiple of 4"):
        Tlp(TlpKind.MWR32, length=1, payload=bytes(3)).pack()


def test_field_that_does_not_fit_raises():
    with pytest.raises(TlpError, match="does not fit its header"):
        Tlp(TlpKind.MRD32, length=1, address=1 << 32).pack()


def test_text_of_a_completion():
    answer = completion(memory_read(0x1000, 8, tag=7), pcie_id(1, 0), status=CplStatus.CA)
    assert str(answer) == (
        "CPL CA 01:00.0 → 00:00.0 tag 0x7 length 0 byte count 8 lower address 0x0"
    )
