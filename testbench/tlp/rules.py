# SPDX-License-Identifier: BSD-2-Clause
"""Rules of PCI Express for the packets of an endpoint, one function for each group.

Written from PCI Express Base 4.0 alone, independent of any design. The functions take packets and
yield :class:`Violation` objects. :mod:`testbench.tlp.monitor` keeps the state between packets and
calls them; recorded packets can be checked as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .codec import (
    ATOMICS,
    COMPLETIONS,
    CONFIG_REQUESTS,
    LOCKED_READS,
    MAX_LENGTH,
    MEMORY_READS,
    MEMORY_WRITES,
    CplStatus,
    Tlp,
    TlpKind,
    id_text,
)
from .packets import request_bytes

READ_COMPLETION_BOUNDARY = 128
"""Bytes; applies to every completer except a root complex (section 2.3.1.1)."""

CONTIGUOUS_FIRST = frozenset({0b1111, 0b1110, 0b1100, 0b1000})
CONTIGUOUS_LAST = frozenset({0b1111, 0b0111, 0b0011, 0b0001})


@dataclass(frozen=True)
class Violation:
    """A violation of a rule.

    Parameters
    ----------
    rule
        Short stable name of the rule, for tests.
    section
        Section of PCI Express Base 4.0, or the generic TLP interface.
    text
        Found and expected values.
    tlp
        The packet, ``None`` if one is missing.
    """

    rule: str
    section: str
    text: str
    tlp: Tlp | None = None

    def __str__(self) -> str:
        packet = "" if self.tlp is None else f": {self.tlp}"
        return f"{self.rule} ({self.section}): {self.text}{packet}"


@dataclass(slots=True)
class Outstanding:
    """An outstanding non-posted request.

    Parameters
    ----------
    request
        The request.
    completer_ids
        16-bit ids allowed in its completions; more than one after a change of the bus number.
    next_address, remaining
        For a memory read: byte address of the next completion's data, and bytes still to come.
    optional
        Whether a function-level reset may have dropped the request.
    memory_space
        For a memory read: whether Memory Space Enable could be set when the request arrived.
    """

    request: Tlp
    completer_ids: set[int]
    next_address: int = 0
    remaining: int = 0
    optional: bool = False
    memory_space: bool = True

    def __post_init__(self) -> None:
        if self.request.kind in MEMORY_READS:
            self.next_address, self.remaining = request_bytes(self.request)


def is_malformed(tlp: Tlp, max_payload_size: int) -> bool:
    """Whether the payload makes a packet a Malformed TLP.

    Receivers discard it without a completion (sections 2.2.2 and 2.3).

    Parameters
    ----------
    tlp
        The packet. With TD set, bytes beyond Length are the digest.
    max_payload_size
        Bytes.
    """
    if not tlp.has_data:
        return bool(tlp.payload) and not tlp.td
    if 4 * tlp.length > max_payload_size:
        return True
    return len(tlp.payload) != 4 * tlp.length and not tlp.td


def header_rules(tlp: Tlp) -> Iterator[Violation]:
    """Rules of every packet of a device that sends no prefixes, digests or hints."""
    legal = COMPLETIONS | {TlpKind.MRD32, TlpKind.MRD64} | MEMORY_WRITES
    if tlp.kind not in legal:
        yield Violation("type", "2.2.1, table 2-3", f"first byte is {tlp.kind:#04x}", tlp)
        return
    if tlp.has_data:
        if len(tlp.payload) != 4 * tlp.length:
            yield Violation(
                "length",
                "2.2.2",
                f"Length is {tlp.length} dwords, the payload has {len(tlp.payload) / 4:g}",
                tlp,
            )
    elif tlp.payload:
        yield Violation(
            "payload", "2.2.1", f"{len(tlp.payload)} bytes of payload with Fmt without data", tlp
        )
    for name, section in (("ln", "2.2.1"), ("th", "2.2.1"), ("td", "2.2.3"), ("at", "2.2.4.1")):
        if getattr(tlp, name):
            yield Violation("reserved", section, f"{name.upper()} is not zero", tlp)
    if tlp.ep:
        yield Violation("poisoned", "2.7.2", "EP is set without poisoned data", tlp)
    if not tlp.four_dwords and tlp.header is not None and tlp.header & 0xFFFF_FFFF:
        yield Violation(
            "reserved", "generic TLP interface", "hdr[31:0] of a 3-dword header is not zero", tlp
        )


def request_rules(
    tlp: Tlp,
    *,
    requester_id: int | None,
    max_payload_size: int,
    max_read_request_size: int,
    extended_tags: bool,
    always_four_dwords: bool = False,
) -> Iterator[Violation]:
    """Rules of a memory request of the device.

    Parameters
    ----------
    tlp
        The request.
    requester_id
        16 bits, or ``None`` before the first configuration write.
    max_payload_size, max_read_request_size
        Bytes.
    extended_tags
        Whether Extended Tag Field Enable is set.
    always_four_dwords
        Whether the header must have four dwords even below 4 GiB, for a hard block that rebuilds
        the header.
    """
    if requester_id is None:
        yield Violation(
            "requester-id", "2.2.6.2", "request before the first configuration write", tlp
        )
    elif tlp.requester_id != requester_id:
        yield Violation("requester-id", "2.2.6.2", f"must be {id_text(requester_id)}", tlp)
    if tlp.tc:
        yield Violation("tc", "2.2.6.6", f"TC is {tlp.tc}, only TC0 is configured", tlp)
    if tlp.attr:
        yield Violation(
            "attributes", "2.2.6.4, 2.2.6.5", f"Attr is {tlp.attr:#05b}, none is enabled", tlp
        )
    four_dwords = always_four_dwords or tlp.address >= 1 << 32
    if tlp.four_dwords != four_dwords:
        form = "4-dword" if four_dwords else "3-dword"
        yield Violation("address-form", "2.2.4.1", f"must have a {form} header", tlp)
    if tlp.processing_hint:
        yield Violation("reserved", "2.2.4.1", "PH is not zero without TH", tlp)
    if (tlp.address & 0xFFF) + 4 * tlp.length > 0x1000:
        yield Violation("4k-crossing", "2.2.7", "crosses a 4 KiB boundary", tlp)
    limit, name = (
        (max_payload_size, "Max_Payload_Size")
        if tlp.has_data
        else (max_read_request_size, "Max_Read_Request_Size")
    )
    if 4 * tlp.length > limit:
        rule = "max-payload" if tlp.has_data else "max-read-request"
        yield Violation(rule, "2.2.2, 2.2.7", f"longer than {name}, {limit} bytes", tlp)
    tags = 256 if extended_tags else 32
    # A posted request may have any tag.
    if tlp.is_non_posted and tlp.tag >= tags:
        yield Violation("tag-size", "2.2.6.2", f"tag is {tlp.tag:#x}: must be below {tags:#x}", tlp)
    yield from byte_enable_rules(tlp)


def byte_enable_rules(tlp: Tlp) -> Iterator[Violation]:
    """Rules of First and Last DW Byte Enables (section 2.2.5)."""
    first, last, length = tlp.first_be, tlp.last_be, tlp.length
    problem = ""
    if length == 1:
        if last:
            problem = "Last DW BE of a one-dword request must be zero"
    elif not first or not last:
        problem = "First and Last DW BE of a longer request must not be zero"
    elif (length > 2 or tlp.address & 4) and not (
        first in CONTIGUOUS_FIRST and last in CONTIGUOUS_LAST
    ):
        problem = "byte enables must be contiguous"
    if problem:
        yield Violation("byte-enables", "2.2.5", problem, tlp)


def completion_rules(
    tlp: Tlp, pending: Outstanding, *, max_payload_size: int
) -> Iterator[Violation]:
    """Rules of a completion of the device; does not advance ``pending``.

    Parameters
    ----------
    tlp, pending
        The completion and its request.
    max_payload_size
        Bytes, at the time of the completion.
    """
    request = pending.request
    yield from _echo_rules(tlp, pending)
    locked = request.kind in LOCKED_READS
    if (tlp.kind in (TlpKind.CPLLK, TlpKind.CPLDLK)) != locked:
        expected = "CplLk or CplDLk" if locked else "Cpl or CplD"
        yield Violation("completion-type", "2.2.9, 2.3.1", f"must be {expected}", tlp)
    if tlp.bcm:
        yield Violation("bcm", "2.2.9", "BCM is set, which only PCI-X completers do", tlp)
    if tlp.header is not None and tlp.header >> 39 & 1:
        yield Violation("reserved", "2.2.9", "bit 7 of the third dword is not zero", tlp)
    yield from _status_rules(tlp, request)
    if not tlp.has_data and tlp.length:
        yield Violation("length", "2.2.9", "Length of a completion without data is reserved", tlp)
    if request.kind in MEMORY_READS:
        yield from _read_rules(tlp, pending, max_payload_size)
    else:
        yield from _other_rules(tlp, request)


def _echo_rules(tlp: Tlp, pending: Outstanding) -> Iterator[Violation]:
    request = pending.request
    if tlp.completer_id not in pending.completer_ids:
        expected = " or ".join(id_text(value) for value in sorted(pending.completer_ids))
        yield Violation("completer-id", "2.2.9", f"must be {expected}", tlp)
    if tlp.tc != request.tc:
        yield Violation("tc", "2.2.9", f"TC is {tlp.tc}, the request had {request.tc}", tlp)
    if tlp.attr & 3 != request.attr & 3:
        yield Violation(
            "attributes",
            "2.2.9",
            f"Attr[1:0] is {tlp.attr & 3:#04b}, the request had {request.attr & 3:#04b}",
            tlp,
        )
    # Section 2.2.9 requires an echo of IDO; 2.2.6.4 requires it clear unless IDO Completion Enable
    # is set. Devices do either, and root ports accept both.
    if tlp.attr & 4 & ~request.attr:
        yield Violation("attributes", "2.2.6.4", "IDO is set, the request had it clear", tlp)


def _status_rules(tlp: Tlp, request: Tlp) -> Iterator[Violation]:
    if tlp.status not in tuple(CplStatus):
        yield Violation("status", "2.2.9, table 2-34", f"status {tlp.status} is reserved", tlp)
    elif tlp.status == CplStatus.CRS and request.kind not in CONFIG_REQUESTS:
        yield Violation("status", "2.3.1", "CRS is for configuration requests only", tlp)
    if tlp.status != CplStatus.SC and tlp.has_data:
        yield Violation("status", "2.2.9", "an unsuccessful completion must not have data", tlp)
    if tlp.status == CplStatus.SC and request.kind in LOCKED_READS:
        yield Violation("status", "6.5.7", "an endpoint must not support locked reads", tlp)
    requires_data = request.kind in MEMORY_READS | ATOMICS | {
        TlpKind.CFGRD0,
        TlpKind.CFGRD1,
        TlpKind.IORD,
    }
    if tlp.status == CplStatus.SC and tlp.has_data != requires_data:
        text = "must have data" if requires_data else "must not have data"
        yield Violation("completion-type", "2.3.1.1", f"a successful completion {text}", tlp)


def _read_rules(tlp: Tlp, pending: Outstanding, max_payload_size: int) -> Iterator[Violation]:
    if tlp.byte_count != pending.remaining:
        yield Violation(
            "byte-count",
            "2.3.1.1, table 2-39",
            f"Byte Count is {tlp.byte_count}, {pending.remaining} bytes remain",
            tlp,
        )
    expected = pending.next_address & 0x7F
    # A completion without data returns no first byte: devices send the address or zero.
    if tlp.lower_address != expected and (tlp.has_data or tlp.lower_address):
        yield Violation(
            "lower-address",
            "2.3.1.1, table 2-40",
            f"Lower Address is {tlp.lower_address:#04x}, must be {expected:#04x}",
            tlp,
        )
    if not tlp.has_data:
        return
    size = 4 * tlp.length
    if size > max_payload_size:
        yield Violation("max-payload", "2.2.2", f"longer than {max_payload_size} bytes", tlp)
    end = (pending.next_address & ~3) + size
    request_end = (pending.next_address + pending.remaining + 3) & ~3
    if end > request_end:
        text = f"has {end - request_end} bytes beyond the end of the request"
        yield Violation("length", "2.3.1.1", text, tlp)
    elif end < request_end and end % READ_COMPLETION_BOUNDARY:
        yield Violation(
            "split",
            "2.3.1.1",
            f"ends at {end:#x}, must be a multiple of {READ_COMPLETION_BOUNDARY} bytes",
            tlp,
        )


def _other_rules(tlp: Tlp, request: Tlp) -> Iterator[Violation]:
    byte_count = 4
    if request.kind in ATOMICS:
        operands = 2 if request.kind in (TlpKind.CAS32, TlpKind.CAS64) else 1
        byte_count = 4 * request.length // operands
    if tlp.byte_count != byte_count:
        yield Violation(
            "byte-count", "2.2.9", f"Byte Count is {tlp.byte_count}, must be {byte_count}", tlp
        )
    if tlp.lower_address:
        yield Violation("lower-address", "2.2.9", "Lower Address must be zero", tlp)
    if tlp.has_data and tlp.length != byte_count // 4:
        yield Violation("length", "2.2.7, 2.3.1.1", f"must be {byte_count // 4} dwords", tlp)


def advance(tlp: Tlp, pending: Outstanding) -> bool:
    """Advance ``pending`` by the completion ``tlp``; return whether the request is complete."""
    if tlp.status != CplStatus.SC or not tlp.has_data or pending.request.kind not in MEMORY_READS:
        return True
    start = pending.next_address
    pending.next_address = (start & ~3) + 4 * min(tlp.length, MAX_LENGTH)
    pending.remaining -= pending.next_address - start
    return pending.remaining <= 0


def continues_read(tlp: Tlp, pending: Outstanding) -> bool:
    """Whether a completion's fields continue the read ``pending`` at its current position.

    The completer id and the split are not checked: for completions of a host, which may be wrong on
    purpose.
    """
    return (
        tlp.byte_count == pending.remaining
        and tlp.lower_address == pending.next_address & 0x7F
        and 4 * tlp.length == len(tlp.payload)
    )
