# SPDX-License-Identifier: BSD-2-Clause
"""The protocol monitor: a packet that violates each rule, and legal traffic without violations."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from monitor_support import (
    DEVICE,
    HOST,
    LONG,
    MSIX,
    READ,
    monitor,
    violated,
    with_data,
    without_data,
)

import testbench.tlp.monitor
import testbench.tlp.rules
import testbench.tlp.settings
from testbench.tlp import CplStatus, Tlp, TlpKind
from testbench.tlp.monitor import HostMistake, ProtocolViolation
from testbench.tlp.packets import (
    completion,
    config_read,
    config_write,
    memory_read,
    memory_write,
    request_bytes,
)

READ_IDO = READ.replace(attr=0b101)
ZERO_LENGTH = memory_read(0xC000_0120, 0, requester_id=HOST, tag=5)
LOCKED = READ.replace(kind=TlpKind.MRDLK32)
CONFIG_READ = config_read(DEVICE, 0x10, requester_id=HOST, tag=5)
CONFIG_WRITE = config_write(DEVICE, 0x10, 0, requester_id=HOST, tag=5)
CAS = Tlp(
    TlpKind.CAS32,
    length=4,
    requester_id=HOST,
    tag=5,
    address=0x1000,
    first_be=0xF,
    last_be=0xF,
    payload=bytes(16),
)


def rules_violated_by(request: Tlp, *answers: Tlp) -> set[str]:
    """Names of the rules that ``answers`` violate as completions of ``request``."""
    check = monitor(max_payload_size=256)
    check.host_sent(request)
    found: set[str] = set()
    for answer in answers:
        found |= violated(check, answer)
    return found


LEGAL_COMPLETIONS = {
    "read": (READ, with_data(READ)),
    "zero-length read": (ZERO_LENGTH, with_data(ZERO_LENGTH)),
    "read refused": (READ, without_data(READ)),
    "read aborted": (READ, without_data(READ, CplStatus.CA)),
    "read refused, lower address left out": (READ, without_data(READ, lower_address=0)),
    "ID-based ordering echoed": (READ_IDO, with_data(READ_IDO, attr=0b101)),
    "ID-based ordering not used": (READ_IDO, with_data(READ_IDO)),
    "locked read refused": (LOCKED, without_data(LOCKED)),
    "configuration read": (CONFIG_READ, with_data(CONFIG_READ)),
    "configuration read, try again": (CONFIG_READ, without_data(CONFIG_READ, CplStatus.CRS)),
    "configuration write": (CONFIG_WRITE, without_data(CONFIG_WRITE, CplStatus.SC)),
    "compare and swap": (
        CAS,
        completion(CAS, DEVICE, bytes(8), byte_count=8),
    ),
}


@pytest.mark.parametrize("name", LEGAL_COMPLETIONS)
def test_legal_completion_has_no_violation(name: str):
    request, answer = LEGAL_COMPLETIONS[name]
    check = monitor()
    check.host_sent(request)
    assert not violated(check, answer)
    check.finish()


ILLEGAL_COMPLETIONS: dict[str, tuple[Tlp, Tlp, str]] = {
    "tag": (READ, with_data(READ, tag=6), "unexpected-completion"),
    "requester id": (READ, with_data(READ, requester_id=HOST + 1), "unexpected-completion"),
    "completer id": (READ, with_data(READ, completer_id=DEVICE + 8), "completer-id"),
    "traffic class": (READ, with_data(READ, tc=0), "tc"),
    "attributes lost": (READ, with_data(READ, attr=0), "attributes"),
    "attributes gained": (READ, with_data(READ, attr=0b11), "attributes"),
    "ID-based ordering": (READ, with_data(READ, attr=0b101), "attributes"),
    "byte count of whole dwords": (READ, with_data(READ, byte_count=80), "byte-count"),
    "byte count of an error": (READ, without_data(READ, byte_count=4), "byte-count"),
    "byte count of a zero-length read": (
        ZERO_LENGTH,
        with_data(ZERO_LENGTH, byte_count=4),
        "byte-count",
    ),
    "byte count of a configuration read": (
        CONFIG_READ,
        with_data(CONFIG_READ, byte_count=1),
        "byte-count",
    ),
    "byte count of a configuration write": (
        CONFIG_WRITE,
        without_data(CONFIG_WRITE, CplStatus.SC, byte_count=4096),
        "byte-count",
    ),
    "byte count of an atomic": (
        CAS,
        completion(CAS, DEVICE, bytes(8), byte_count=16),
        "byte-count",
    ),
    "lower address of the dword": (READ, with_data(READ, lower_address=0x20), "lower-address"),
    "lower address of an error": (READ, without_data(READ, lower_address=0x24), "lower-address"),
    "lower address of a configuration read": (
        CONFIG_READ,
        with_data(CONFIG_READ, lower_address=0x10),
        "lower-address",
    ),
    "byte count modified": (READ, with_data(READ, bcm=1), "bcm"),
    "too long": (READ, with_data(READ, length=21, payload=bytes(84)), "length"),
    "payload shorter than length": (READ, with_data(READ, length=21), "length"),
    "length of an error": (READ, without_data(READ, length=20), "length"),
    "two dwords of configuration space": (
        CONFIG_READ,
        with_data(CONFIG_READ, length=2, payload=bytes(8)),
        "length",
    ),
    "payload where Fmt has none": (READ, with_data(READ, kind=TlpKind.CPL), "payload"),
    "error with data": (READ, with_data(READ, status=CplStatus.UR), "status"),
    "reserved status": (READ, without_data(READ, 3), "status"),
    "retry of a memory read": (READ, without_data(READ, CplStatus.CRS), "status"),
    "locked read served": (LOCKED, with_data(LOCKED), "status"),
    "success without data": (READ, without_data(READ, CplStatus.SC), "completion-type"),
    "configuration write with data": (CONFIG_WRITE, with_data(CONFIG_WRITE), "completion-type"),
    "Cpl for a locked read": (LOCKED, without_data(LOCKED, kind=TlpKind.CPL), "completion-type"),
    "CplDLk for a read": (READ, with_data(READ, kind=TlpKind.CPLDLK), "completion-type"),
    "poisoned": (READ, with_data(READ, ep=1), "poisoned"),
    "digest": (READ, with_data(READ, td=1), "reserved"),
    "hints": (READ, with_data(READ, th=1), "reserved"),
    "lightweight notification": (READ, with_data(READ, ln=1), "reserved"),
    "address type": (READ, with_data(READ, at=1), "reserved"),
}


@pytest.mark.parametrize("name", ILLEGAL_COMPLETIONS)
def test_completion_violates_rule(name: str):
    request, answer, rule = ILLEGAL_COMPLETIONS[name]
    assert rule in rules_violated_by(request, answer)


def split(request: Tlp, *lengths: int) -> list[Tlp]:
    """The completions of ``request``, split into ``lengths`` dwords at any boundary."""
    first, remaining = request_bytes(request)
    answers = []
    for length in lengths:
        answers.append(
            completion(
                request,
                DEVICE,
                bytes(4 * length),
                byte_count=remaining,
                lower_address=first & 0x7F,
            )
        )
        remaining -= (first & ~3) + 4 * length - first
        first = (first & ~3) + 4 * length
    return answers


@pytest.mark.parametrize(
    "lengths",
    [(7, 32, 32, 29), (39, 61), (7, 64, 29), (39, 32, 29)],
    ids=["at each boundary", "largest first", "largest second", "uneven"],
)
def test_legal_split_has_no_violation(lengths: tuple[int, ...]):
    """400 bytes from 0x64 with Max_Payload_Size 256 have boundaries at 0x80, 0x100 and 0x180."""
    assert not rules_violated_by(LONG, *split(LONG, *lengths))


@pytest.mark.parametrize(
    ("lengths", "rule"),
    [
        ((8, 31, 61), "split"),
        ((23, 16, 61), "split"),
        ((6, 94), "split"),
        ((7, 93), "max-payload"),
        ((7, 32, 32, 30), "length"),
    ],
    ids=["not at a boundary", "at 64 bytes", "before a boundary", "too long", "too much"],
)
def test_split_violates_rule(lengths: tuple[int, ...], rule: str):
    assert rule in rules_violated_by(LONG, *split(LONG, *lengths))


def test_second_completion_with_header_of_the_first():
    first, second = split(LONG, 39, 61)
    wrong = second.replace(byte_count=first.byte_count, lower_address=first.lower_address)
    assert rules_violated_by(LONG, first, wrong) == {"byte-count", "lower-address"}


def test_split_within_a_boundary_is_violation():
    request = memory_read(0xC000_0000, 128, requester_id=HOST, tag=5)
    assert "split" in rules_violated_by(request, *split(request, 16, 16))


def test_error_status_ends_a_split_read():
    first, second = split(LONG, 39, 61)
    failed = second.replace(kind=TlpKind.CPL, length=0, payload=b"", status=CplStatus.CA)
    assert not rules_violated_by(LONG, first, failed)
    assert rules_violated_by(LONG, first, failed, second) == {"unexpected-completion"}


@given(st.integers(0, 4095), st.integers(1, 4096), st.sampled_from([128, 256, 512]), st.data())
def test_every_legal_split_passes(offset: int, size: int, payload: int, data: st.DataObject):
    """A reference completer that splits at random boundaries violates no rule."""
    size = min(size, 4096 - offset)
    request = memory_read(0xC000_0000 + offset, size, requester_id=HOST, tag=9)
    start, end = request.address, request.address + 4 * request.length
    lengths = []
    while start < end:
        stops = [
            at for at in range(-(-(start + 1) // 128) * 128, end, 128) if at - start <= payload
        ]
        if end - start <= payload:
            stops.append(end)
        stop = data.draw(st.sampled_from(stops))
        lengths.append((stop - start) // 4)
        start = stop
    check = monitor(max_payload_size=payload)
    check.host_sent(request)
    for answer in split(request, *lengths):
        check.design_sent(Tlp.unpack(answer.pack(), answer.payload))
    check.finish()


def test_second_completion_is_unexpected():
    assert rules_violated_by(READ, with_data(READ), with_data(READ)) == {"unexpected-completion"}


def test_completion_of_posted_request_is_unexpected():
    write = memory_write(0xC000_0000, bytes(4), requester_id=HOST, tag=5)
    assert rules_violated_by(write, without_data(write)) == {"unexpected-completion"}


def test_finish_reports_missing_completion():
    check = monitor()
    check.host_sent(READ)
    with pytest.raises(ProtocolViolation, match=r"no-completion .* without a complete answer"):
        check.finish()


def test_finish_reports_incomplete_read():
    check = monitor(max_payload_size=256)
    check.host_sent(LONG)
    assert not violated(check, split(LONG, 39, 61)[0])
    with pytest.raises(ProtocolViolation, match="no-completion"):
        check.finish()


def test_reserved_bit_of_completion_is_violation():
    check = monitor(fatal=False)
    check.host_sent(READ)
    answer = with_data(READ)
    check.design_sent(Tlp.unpack(answer.pack() | 1 << 39, answer.payload))
    assert [item.rule for item in check.violations] == ["reserved"]


def test_fourth_dword_of_completion_is_violation():
    check = monitor(fatal=False)
    check.host_sent(READ)
    answer = with_data(READ)
    check.design_sent(Tlp.unpack(answer.pack() | 1, answer.payload))
    assert [item.rule for item in check.violations] == ["reserved"]


def test_host_reusing_an_outstanding_tag_raises():
    check = monitor()
    check.host_sent(READ)
    with pytest.raises(HostMistake, match=r"tag 0x5 of 00:03\.1 is in use"):
        check.host_sent(LONG)


def test_two_requesters_may_use_the_same_tag():
    check = monitor()
    other = READ.replace(requester_id=HOST + 8)
    check.host_sent(READ)
    check.host_sent(other)
    assert not violated(check, with_data(other))
    assert not violated(check, with_data(READ))
    check.finish()


OWN_READ = memory_read(0x1000, 4, requester_id=DEVICE, tag=3)


def with_enables(length: int, first: int, last: int, address: int = 0x1000) -> Tlp:
    return Tlp(
        TlpKind.MWR32,
        length=length,
        requester_id=DEVICE,
        address=address,
        first_be=first,
        last_be=last,
        payload=bytes(4 * length),
    )


LEGAL_REQUESTS = {
    "MSI-X": MSIX,
    "MSI-X above 4 GiB": memory_write(0x1_FEE0_0010, bytes(4), requester_id=DEVICE),
    "zero-length write": memory_write(0x1000, b"", requester_id=DEVICE),
    "largest payload": memory_write(0x1F80, bytes(128), requester_id=DEVICE),
    "holes in one dword": with_enables(1, 0b1001, 0),
    "holes in an aligned quadword": with_enables(2, 0b0101, 0b1010),
    "unaligned ends": with_enables(3, 0b1000, 0b0001),
    "read": memory_read(0x1E00, 512, requester_id=DEVICE),
    "read above 4 GiB": memory_read(0x5_0000_0E01, 511, requester_id=DEVICE, tag=31),
    "any tag of a write": MSIX.replace(tag=0xFF),
}


@pytest.mark.parametrize("name", LEGAL_REQUESTS)
def test_legal_request_has_no_violation(name: str):
    assert not violated(monitor(), LEGAL_REQUESTS[name])


ILLEGAL_REQUESTS: dict[str, tuple[Tlp, str]] = {
    "requester id": (MSIX.replace(requester_id=DEVICE + 1), "requester-id"),
    "traffic class": (MSIX.replace(tc=1), "tc"),
    "relaxed ordering": (MSIX.replace(attr=2), "attributes"),
    "4 dwords below 4 GiB": (MSIX.replace(kind=TlpKind.MWR64), "address-form"),
    "4 dwords below 4 GiB, read": (OWN_READ.replace(kind=TlpKind.MRD64), "address-form"),
    "tag of 6 bits": (OWN_READ.replace(tag=32), "tag-size"),
    "read across 4 KiB": (memory_read(0x1FFE, 4, requester_id=DEVICE), "4k-crossing"),
    "read with a payload": (OWN_READ.replace(payload=bytes(4)), "payload"),
    "hole in a read of three": (
        memory_read(0x1000, 12, requester_id=DEVICE, last_be=0b0101),
        "byte-enables",
    ),
    "hint without TH": (MSIX.replace(processing_hint=1), "reserved"),
    "4 KiB": (with_enables(2, 0xF, 0xF, address=0x1FFC), "4k-crossing"),
    "payload": (memory_write(0x1000, bytes(132), requester_id=DEVICE), "max-payload"),
    "read request": (memory_read(0x1000, 516, requester_id=DEVICE), "max-read-request"),
    "last enables of one dword": (with_enables(1, 0xF, 0x1), "byte-enables"),
    "no last enables": (with_enables(2, 0xF, 0), "byte-enables"),
    "no first enables": (with_enables(2, 0, 0xF), "byte-enables"),
    "hole in the first of three": (with_enables(3, 0b1010, 0xF), "byte-enables"),
    "hole in the last of three": (with_enables(3, 0xF, 0b0101), "byte-enables"),
    "gap after the first of three": (with_enables(3, 0b0111, 0xF), "byte-enables"),
    "hole in an unaligned pair": (with_enables(2, 0b1010, 0xF, address=0x1004), "byte-enables"),
    "payload shorter than length": (MSIX.replace(length=2, last_be=0xF), "length"),
    "I/O": (MSIX.replace(kind=TlpKind.IOWR), "type"),
    "configuration": (CONFIG_READ, "type"),
    "nonsense": (MSIX.replace(kind=0x9F), "type"),
    "poisoned": (MSIX.replace(ep=1), "poisoned"),
}


@pytest.mark.parametrize("name", ILLEGAL_REQUESTS)
def test_request_violates_rule(name: str):
    packet, rule = ILLEGAL_REQUESTS[name]
    assert rule in violated(monitor(), packet)


@pytest.mark.parametrize(
    "short, long", [(MSIX, TlpKind.MWR64), (OWN_READ, TlpKind.MRD64)], ids=["write", "read"]
)
def test_four_dword_headers_below_4_gib(short: Tlp, long: TlpKind):
    """Some hard blocks require 4-dword headers for every address."""
    assert violated(monitor(always_four_dwords=True), short) == {"address-form"}
    assert not violated(monitor(always_four_dwords=True), short.replace(kind=long))


def test_violation_is_raised_with_time_and_section():
    check = monitor(now=lambda: 1234.5)
    check.host_sent(READ)
    with pytest.raises(ProtocolViolation) as caught:
        check.design_sent(with_data(READ, tc=0))
    text = str(caught.value)
    assert re.search(r"at 1234.5 ns: tc \(2\.2\.9\): TC is 0, the request had 2: CPLD SC", text)
    assert [item.rule for item in caught.value.violations] == ["tc"]
    with pytest.raises(ProtocolViolation):
        check.finish()


def test_every_rule_has_a_test() -> None:
    """Every rule has a test that violates it."""
    tested = {rule for _, _, rule in ILLEGAL_COMPLETIONS.values()}
    tested |= {rule for _, rule in ILLEGAL_REQUESTS.values()}
    tested |= {"split", "no-completion", "bus-master", "memory-space", "tag"}
    modules = (testbench.tlp.rules, testbench.tlp.monitor, testbench.tlp.settings)
    source = "".join(Path(module.__file__ or "").read_text() for module in modules)
    declared = set(re.findall(r'Violation\(\s*"([a-z0-9-]+)"', source))
    assert declared <= tested
